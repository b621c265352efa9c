//! The test harness that several crates share: real peers, example programs, and VM files.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a failure of the harness fails the test"
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

/// Compiles the program in the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
