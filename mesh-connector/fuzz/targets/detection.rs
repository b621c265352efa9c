//! Detects the protocol of a client that sends arbitrary bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_connector::bridge::fuzzing::detection(bytes));
