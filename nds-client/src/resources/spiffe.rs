//! Errors of SPIFFE IDs.

pub use super::spiffe_id::InvalidSpiffeId;
