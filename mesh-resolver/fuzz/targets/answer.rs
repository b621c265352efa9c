//! Any bytes may come from upstream.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_resolver::fuzzing::answer(bytes));
