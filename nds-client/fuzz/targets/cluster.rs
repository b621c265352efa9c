//! A pushed cluster is the same decoded directly and from its compact form.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| nds_client::fuzzing::cluster(bytes));
