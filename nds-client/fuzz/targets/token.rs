//! A token whose claims are read after a rejection.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| nds_client::fuzzing::token(text));
