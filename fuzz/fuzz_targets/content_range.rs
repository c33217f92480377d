//! libFuzzer entry point of [`registry_fuzz::content_range`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::content_range(data));
