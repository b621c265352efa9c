//! What unit tests need of a mesh: certificates, clusters, endpoints, and workloads that choose ALPN as Envoy does.

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
