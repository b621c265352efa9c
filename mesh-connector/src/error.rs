//! The details of an [`Error`].

pub(crate) mod base;
mod kind;

pub use self::base::{Attempt, IdentityMismatch};
pub(crate) use self::base::{Error, ErrorKind};
