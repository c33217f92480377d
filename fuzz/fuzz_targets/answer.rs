//! libFuzzer entry point of [`registry_fuzz::answer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::answer(data));
