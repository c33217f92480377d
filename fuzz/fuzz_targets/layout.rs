//! libFuzzer entry point of [`registry_fuzz::layout`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::layout(data));
