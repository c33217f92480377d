//! libFuzzer entry point of [`registry_fuzz::digest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::digest(data));
