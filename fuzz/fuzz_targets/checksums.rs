//! See `greenloop::fetch::fuzz::checksums`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| greenloop::fetch::fuzz::checksums(data));
