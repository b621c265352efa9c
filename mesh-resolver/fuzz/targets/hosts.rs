//! Parses arbitrary bytes as a `hosts` file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_resolver::fuzzing::hosts(bytes));
