//! Test fixtures: certificates, clusters, endpoints, and workloads that select ALPN like Envoy.

mod pki;
mod server;
mod wire;

pub(crate) use self::{
    pki::{Authority, provider},
    server::Server,
    wire::{
        auto_mtls, bare, clusters, ejecting, endpoint, endpoints, explicit_mtls, gateway, growing, locality,
        plaintext,
    },
};
