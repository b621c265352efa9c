//! Workloads. Each consists of the inbound side of a sidecar and a small application.

pub(crate) mod application;
pub(crate) mod caller;
pub(crate) mod chain;
pub(crate) mod echo;
pub(crate) mod http;
pub(crate) mod identity;
pub(crate) mod peer_exchange;
pub(crate) mod serve;

pub(crate) use identity::{Identities, Presented, Validity};
pub(crate) use serve::{Role, Workload, serve};
