//! The configuration of a transport socket, in any number of PROXY protocol sockets.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nds_client::fuzzing::transport_socket(bytes));
