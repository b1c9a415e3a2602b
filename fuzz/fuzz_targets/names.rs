//! See `greenloop::fetch::fuzz::names`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| greenloop::fetch::fuzz::names(data));
