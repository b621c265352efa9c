//! Sends arbitrary bytes to the HTTP proxy of the bridge.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_connector::bridge::fuzzing::http(bytes));
