//! Resolves the names of an Istio mesh inside the process, with upstream DNS behind them.
#![forbid(unsafe_code)]

mod answer;
mod builder;
mod error;
mod fallback;
#[cfg(feature = "hickory")]
pub mod hickory;
mod host;
#[cfg(feature = "hyper")]
pub mod hyper;
mod lookup;
mod name;
mod recent;
#[cfg(feature = "reqwest")]
pub mod reqwest;
mod resolver;
mod scope;
mod upstream;

pub use self::{
    answer::{Addresses, IntoIter, Lookup, Source},
    builder::MeshResolverBuilder,
    error::{Error, ErrorKind},
    lookup::{Answer, Via},
    resolver::{MeshResolver, Names},
    scope::Scope,
    upstream::Upstream,
};
