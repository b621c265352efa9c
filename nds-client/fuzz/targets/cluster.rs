//! A pushed cluster: read whole and read in few bytes, it says the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nds_client::fuzzing::cluster(bytes));
