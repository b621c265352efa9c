//! A snapshot file with a correct checksum.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nds_client::fuzzing::snapshot(bytes));
