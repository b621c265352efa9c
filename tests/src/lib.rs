//! What the tests across crates share: real peers, and the folder of files that a VM gets.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a harness that cannot go on fails its test"
)]

pub mod ads;
pub mod apps;
pub mod clients;
pub mod external;
pub mod machine;
pub mod peers;
pub mod pki;
pub mod postgres;
pub mod vm_files;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
