//! libFuzzer entry point of [`registry_fuzz::referrers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::referrers(data));
