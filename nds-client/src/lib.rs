//! Joins an Istio mesh as a VM workload, in the process and without a sidecar, and keeps what istiod says live.
//!
//! [`NdsClient`] reads the files that `istioctl x workload entry configure` writes ([`Config`]), gets a certificate
//! from istiod's CA and renews it ([`Identity`]), and holds one xDS stream: the name discovery service always
//! ([`NameTable`]), clusters and endpoints once they are asked for ([`Clusters`], [`Endpoints`]). What comes over it
//! is published as immutable snapshots ([`Watched`]); a bad push, a lost connection or a failed renewal changes
//! [`Health`], never what works.
//!
//! It does not resolve names as a program would (short names, wildcards, upstream DNS: the crate `mesh-resolver`) and
//! opens no connections to services (the crate `mesh-connector`).
//!
//! ```no_run
//! # async fn example() -> Result<(), nds_client::Error> {
//! use nds_client::{Config, NdsClient};
//!
//! let client = NdsClient::join(Config::from_vm_files("/var/lib/sidestep")?).await?;
//! let names = client.names().get();
//! if let Some(entry) = names.get("forecast.weather.svc.cluster.local") {
//!     println!("{} is at {:?}", entry.name(), entry.ipv4());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | the crypto provider of that name, used where the configuration gives none |
//! | `ring` | no | the crypto provider of that name, used where neither of the above is there |

#![forbid(unsafe_code)]

mod ads;
mod backoff;
mod client;
mod clock;
mod cluster;
mod config;
mod duration;
mod endpoint;
mod error;
mod health;
mod identity;
mod istiod;
mod kept;
mod locality;
mod name_table;
mod protobuf;
mod snapshot;
mod spiffe;
mod state;
mod storage;
#[cfg(test)]
mod testing;
mod transport;
mod watched;

pub use self::{
    client::NdsClient,
    cluster::{
        Certificate, CircuitBreakers, Cluster, ClusterName, Clusters, ConnectionLife, Discovery, Http,
        InvalidClusterName, LbPolicy, LoadBalancing, OutlierDetection, ProxyProtocol, Roots, SanMatcher,
        SanRegex, SlowStart, TcpKeepalive, TlsContext, TlsVersion, TransportMatch, TransportSocket,
    },
    config::{Config, ConfigBuilder, InvalidServerAddress, ServerAddress},
    endpoint::{Endpoint, Endpoints, Health as EndpointHealth, LocalityEndpoints, Workload},
    error::{Error, ErrorKind, InvalidResource, Problem},
    health::{Failure, Health, Part, SyncState},
    identity::{Identity, KeyType},
    locality::Locality,
    name_table::{InvalidNameTable, NameEntry, NameTable, Registry},
    spiffe::{InvalidSpiffeId, SpiffeId},
    watched::{Publisher, Watched},
};
