//! Responses on the stream, whatever is in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nds_client::fuzzing::ads_session(bytes));
