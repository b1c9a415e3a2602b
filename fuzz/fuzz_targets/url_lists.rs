//! See `greenloop::fetch::fuzz::url_lists`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| greenloop::fetch::fuzz::url_lists(data));
