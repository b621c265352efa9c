//! A whole two-network Istio mesh in one process.

#![forbid(unsafe_code)]

mod address_book;
mod data_plane;
mod dns;
mod error;
mod event;
mod gateway;
mod hello;
mod istiod;
mod listen;
mod model;
mod pki;
mod sandbox;
mod state;
mod tasks;
mod vm_files;
mod workload;
mod xds;
mod yaml;

pub use address_book::{AddressBook, YamlAddress};
pub use data_plane::GatewayAddress;
pub use error::{Error, Result};
pub use event::{
    Connection, Event, Events, GatewayEvent, GatewayOutcome, Rejection, WorkloadEvent, WorkloadOutcome,
};
pub use pki::TokenOptions;
pub use sandbox::{Sandbox, SandboxBuilder};
pub use vm_files::VmFiles;
pub use yaml::Place;
