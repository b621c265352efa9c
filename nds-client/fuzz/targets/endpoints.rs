//! A pushed assignment of endpoints: written and read again, it says the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nds_client::fuzzing::endpoints(bytes));
