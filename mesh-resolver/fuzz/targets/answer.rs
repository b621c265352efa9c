//! Treats arbitrary bytes as a packet from an upstream server.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_resolver::fuzzing::answer(bytes));
