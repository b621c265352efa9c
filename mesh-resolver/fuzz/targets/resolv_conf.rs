//! Parses arbitrary bytes as a resolv.conf.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_resolver::fuzzing::resolv_conf(bytes));
