//! Tests of the sandbox over the network, with tonic and rustls clients. They use nothing of Sidestep's own client, so
//! that the two cannot share a mistake.

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
