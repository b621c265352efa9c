//! Resolves the names of an Istio mesh inside the process, with upstream DNS behind them.
#![forbid(unsafe_code)]

mod answer;
mod builder;
mod error;
mod fallback;
mod host;
mod lookup;
mod name;
mod recent;
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
