//! The texts that fuzzed calls use.

use std::{env, ffi::CString};

use libfuzzer_sys::arbitrary::Unstructured;

/// Names, addresses, keys and values that some function accepts.
const KNOWN: &[&[u8]] = &[
    b"",
    b"0",
    b"1",
    b"65",
    b"80",
    b"http",
    b"127.0.0.1",
    b"127.0.0.1:0",
    b"127.0.0.1:1",
    b"::1",
    b"[::1]:0",
    b"a b",
    b"a\xff",
    b"allow-any",
    b"as-configured",
    b"connect-timeout-ms",
    b"env.POD_NAMESPACE",
    b"forecast.weather",
    b"istiod-address",
    b"istiod-name",
    b"join-timeout-ms",
    b"mtls",
    b"namespace",
    b"outbound-traffic-policy",
    b"registry-only",
    b"required",
    b"threads",
    b"upstream-dns",
    b"/no/such/folder",
];

pub(crate) fn known(input: &mut Unstructured<'_>) -> CString {
    let index = input.int_in_range(0..=KNOWN.len() + 5).unwrap_or_default();
    let bytes = match index.checked_sub(KNOWN.len()) {
        None => KNOWN[index].to_vec(),
        // The longest name and a longer one, the longest label and a longer one, and a text that is too long for every
        // argument.
        Some(0) => b"abcdefghi.".repeat(26)[..254].to_vec(),
        Some(1) => b"abcdefghi.".repeat(26)[..256].to_vec(),
        Some(2) => vec![b'l'; 63],
        Some(3) => vec![b'l'; 64],
        Some(4) => vec![b'e'; 1 << 20],
        _ => env::temp_dir().join("sidestep-fuzz").into_os_string().into_encoded_bytes(),
    };
    CString::new(bytes).unwrap_or_default()
}

pub(crate) fn any(input: &mut Unstructured<'_>) -> CString {
    let length = input.int_in_range(0..=64).unwrap_or_default();
    let bytes = input.bytes(length.min(input.len())).unwrap_or_default();
    CString::new(bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>()).unwrap_or_default()
}
