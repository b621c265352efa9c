//! The error of a text that is not a SPIFFE ID.

pub use super::spiffe_id::InvalidSpiffeId;
