//! The details of an [`Error`].

mod attempt;
pub(crate) mod base;
mod kind;

pub use self::attempt::{Attempt, IdentityMismatch};
pub(crate) use self::base::{Error, ErrorKind};
