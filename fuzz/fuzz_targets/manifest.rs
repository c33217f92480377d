//! libFuzzer entry point of [`registry_fuzz::manifest`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::manifest(data));
