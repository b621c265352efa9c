//! Arbitrary bytes as the YAML files of a mesh.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mesh_sandbox::fuzzing::yaml(bytes));
