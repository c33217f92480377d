//! libFuzzer entry point of [`registry_fuzz::route`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::route(data));
