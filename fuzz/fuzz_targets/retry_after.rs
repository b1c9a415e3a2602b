//! See `greenloop::fetch::fuzz::retry_after_field`, which says what must hold.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| greenloop::fetch::fuzz::retry_after_field(data));
