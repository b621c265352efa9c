//! Helpers that the crates of Sidestep share. Internal: the interface may change in every release.
//!
//! | module | contents |
//! |---|---|
//! | [`bounded_map`] | a map with a limited total weight, which drops entries that were not used recently |
//! | [`descriptors`] | a budget of file descriptors, derived from `RLIMIT_NOFILE` |
//! | [`error`] | the common structure of errors, reports of an error with its causes |
//! | [`file_stamp`] | detection of changed files without reading them |
//! | [`happy_eyeballs`] | staggered connection attempts to several addresses (RFC 8305) |
//! | [`host_name`] | validation of host names (RFC 1035) |
//! | [`local_error`] | socket errors whose cause is this host |
//! | [`pem`] | certificates and private keys from PEM, root stores |
//! | [`suspension`] | the time that this host spends suspended |
//! | [`supervisor`] | tasks that start again after a panic, and a value that notices the end of tasks |
//! | [`warn_limit`] | one log line per cause and minute for repeated warnings |

#![forbid(unsafe_code)]

pub mod bounded_map;
pub mod descriptors;
pub mod error;
pub mod file_stamp;
pub mod happy_eyeballs;
pub mod host_name;
pub mod local_error;
pub mod pem;
pub mod supervisor;
pub mod suspension;
pub mod warn_limit;
