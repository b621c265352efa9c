//! A token, whose claims are read when istiod refuses it.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| nds_client::fuzzing::token(text));
