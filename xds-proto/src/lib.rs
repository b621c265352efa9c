//! The protobuf messages of xDS, NDS and Istio's certificate service that Sidestep uses, with the packages, names and
//! field numbers of the originals. Fields that Sidestep neither reads nor writes are omitted.
//!
//! The generated Rust code is checked in, so that a build does not need `protoc`. After a change of a file in `proto/`,
//! run `SIDESTEP_REGENERATE=1 cargo test -p xds-proto`.
//!
//! `bytes` fields are [`bytes::Bytes`]: an [`Any`](google::protobuf::Any) decoded by tonic shares the received buffer.

#![forbid(unsafe_code)]

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
#[allow(
    elided_lifetimes_in_paths,
    clippy::allow_attributes_without_reason,
    clippy::use_self,
    clippy::wildcard_imports,
    reason = "generated"
)]
mod generated {
    include!("generated/mod.rs");
}

pub use generated::{envoy, google, istio};

pub mod any;
pub mod strict;
pub mod type_url;
