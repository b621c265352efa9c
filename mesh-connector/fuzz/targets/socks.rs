//! Parses arbitrary bytes as the messages of a SOCKS5 client.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_connector::bridge::fuzzing::socks(bytes));
