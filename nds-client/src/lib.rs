//! stub
#![forbid(unsafe_code)]
mod client;
mod cluster;
mod config;
mod endpoint;
mod error;
mod health;
mod identity;
mod locality;
mod name_table;
mod spiffe;
mod watched;
pub use self::{
    client::NdsClient,
    cluster::{
        Certificate, Cluster, ClusterName, Clusters, Discovery, Http, InvalidClusterName, Roots, SanMatcher,
        TlsContext, TransportMatch, TransportSocket,
    },
    config::{Config, InvalidServerAddress, ServerAddress},
    endpoint::{Endpoint, Endpoints, Health as EndpointHealth, LocalityEndpoints, Workload},
    error::{Error, ErrorKind, InvalidResource, Problem},
    health::{Health, SyncState},
    identity::Identity,
    locality::Locality,
    name_table::{InvalidNameTable, NameEntry, NameTable, Registry},
    spiffe::{InvalidSpiffeId, SpiffeId},
    watched::{Publisher, Watched},
};
