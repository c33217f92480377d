//! libFuzzer entry point of [`registry_fuzz::blob_list`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| registry_fuzz::blob_list(data));
