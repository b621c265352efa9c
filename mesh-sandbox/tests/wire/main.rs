//! The sandbox over the wire, with raw tonic and rustls clients: nothing of Sidestep's own client is used, so that
//! the two cannot agree on a mistake.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests and their harness")]

mod ads;
mod ca;
mod client;
mod clusters;
mod dns;
mod endpoints;
mod faults;
mod gateway;
mod mesh;
mod names;
mod reload;
mod tls;
mod vm_files;
mod workload;
