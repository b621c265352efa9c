//! Sends arbitrary bytes to the DNS listener.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_resolver::fuzzing::query(bytes));
