//! A pushed assignment is the same after encoding and decoding.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nds_client::fuzzing::endpoints(bytes));
