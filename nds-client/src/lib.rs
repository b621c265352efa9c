//! Joins an Istio mesh as a VM workload, in the process and without a sidecar, and keeps what istiod says live.
//!
//! [`NdsClient`] reads the files that `istioctl x workload entry configure` writes ([`Config`]), gets a certificate
//! from istiod's CA and renews it ([`Identity`]), and holds one xDS stream: the name discovery service always
//! ([`NameTable`]), clusters and endpoints once they are asked for ([`Clusters`], [`Endpoints`]). What comes over it
//! is published as immutable snapshots ([`Watch`]); a bad push, a lost connection or a failed renewal changes
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
//! | `aws-lc-rs` | yes | the crypto provider of that name, used where the client is given none |
//! | `metrics` | no | counters and gauges through the `metrics` facade: below |
//! | `ring` | no | the crypto provider of that name, used where neither the caller nor `aws-lc-rs` gives one |
//!
//! Each adds to the others. Without a crypto provider the caller has to give one
//! ([`ClientBuilder::with_crypto_provider`]), and, as nothing is there then to make keys, the files of a certificate
//! ([`Config::with_certificate_files`]).
//!
//! # Observability
//!
//! What happens is told through `tracing`: each certificate, each stream and its end at info, failures at warn with what
//! follows from them, pushes at debug. [`Health`] says what does not work, why and since when. With the feature
//! `metrics`; what Istio's agent has too has its name:
//!
//! | metric | what |
//! |---|---|
//! | `istio_agent_cert_expiry_seconds` (`resource_name`) | seconds until the certificate ends; negative afterwards |
//! | `istio_agent_num_outgoing_requests`, `istio_agent_num_failed_outgoing_requests` (`request_type`) | certificates asked for, and in vain |
//! | `istio_agent_outgoing_latency` (`request_type`) | milliseconds that these took, summed |
//! | `istio_agent_istiod_connection_failures` | streams that were not opened or fell silent |
//! | `istio_agent_istiod_connection_terminations` (`type`) | streams that ended, by `error` or as `cancelled` |
//! | `istio_agent_xds_proxy_requests`, `istio_agent_xds_proxy_responses` | messages to and from istiod |
//! | `nds_client_certificate_failures_total` (`kind`) | certificates asked for in vain, by [`ErrorKind`] |
//! | `nds_client_pushes_total` (`type`, `outcome`) | pushes `accepted`, `rejected`, `unchanged` |
//! | `nds_client_push_seconds` (`type`) | from a push to its publication |
//! | `nds_client_names`, `nds_client_clusters`, `nds_client_subscribed_clusters` | how many there are now |
//! | `nds_client_sync_state` (`state`) | 1 for the state of [`SyncState`] that holds |
//! | `nds_client_failing` (`part`) | 1 for each [`Part`] that fails |

#![forbid(unsafe_code)]

mod backoff;
mod certificates;
mod client;
mod clock;
mod config;
mod duration;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod identity;
mod istiod;
mod metrics;
mod protobuf;
mod published;
pub mod resources;
mod runtime;
mod state;
mod state_dir;
mod subscriptions;
#[cfg(test)]
mod testing;
mod transport;
mod watch;
mod xds;

pub use self::{
    client::{ClientBuilder, NdsClient},
    config::{Config, ConfigBuilder, InvalidServerAddress, KeyType, ServerAddress},
    error::{Error, ErrorKind, InvalidResource, Problem},
    health::{Failure, Health, Part, SyncState},
    identity::Identity,
    resources::{
        cluster::{
            Certificate, CircuitBreakers, Cluster, ClusterName, Clusters, ConnectionLife, Discovery, Http,
            InvalidClusterName, LbPolicy, LoadBalancing, OutlierDetection, ProxyProtocol, Roots, SanMatcher,
            SanRegex, SlowStart, TcpKeepalive, TlsContext, TlsVersion, TransportMatch, TransportSocket,
        },
        endpoint::{Endpoint, Endpoints, Health as EndpointHealth, LocalityEndpoints, Workload},
        locality::Locality,
        name_table::{InvalidNameTable, NameEntry, NameTable, Registry},
        spiffe::{InvalidSpiffeId, SpiffeId},
    },
    subscriptions::EndpointsWatch,
    watch::{Ref, Watch, WatchSender},
};
