//! libFuzzer entry point of [`registry_fuzz::checkpoint`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::checkpoint(data));
