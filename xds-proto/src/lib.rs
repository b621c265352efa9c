//! The messages of xDS, NDS and Istio's certificate service that Sidestep speaks: the same packages, names and
//! field numbers as the originals, without the fields that nothing here reads or writes.
//!
//! The Rust code is generated and checked in, so that nobody who builds needs `protoc`. After a change of a file
//! under `proto/`: `SIDESTEP_REGENERATE=1 cargo test -p xds-proto`.
//!
//! `bytes` fields are [`bytes::Bytes`]: an [`Any`](google::protobuf::Any) decoded by tonic is a slice of the buffer
//! that came from the wire, not a copy.

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
pub mod type_url;
