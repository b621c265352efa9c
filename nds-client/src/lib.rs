//! Joins an Istio mesh as a VM workload, in the process and without a sidecar, and follows the configuration that
//! istiod pushes.
//!
//! [`NdsClient`] reads the files of `istioctl x workload entry configure` ([`Config`]), requests a certificate from the
//! CA of istiod and renews it ([`Identity`]), and opens one xDS stream. It always subscribes to the name table
//! ([`NameTable`](resources::name_table::NameTable)), and to clusters and endpoints on demand
//! ([`Clusters`](resources::cluster::Clusters), [`Endpoints`](resources::endpoint::Endpoints)). Each push is published
//! as an immutable value ([`Watch`](watch::Watch)). A rejected push, a lost connection or a failed renewal changes
//! [`Health`](health::Health); the last valid values stay in use.
//!
//! The crate `mesh-resolver` resolves names (short names, wildcards, upstream DNS). The crate `mesh-connector` connects
//! to services.
//!
//! ```no_run
//! # async fn example() -> Result<(), nds_client::Error> {
//! use nds_client::{Config, NdsClient};
//!
//! let client = NdsClient::join(Config::from_vm_files("/var/lib/sidestep")?).await?;
//! let names = client.names().get();
//! if let Some(entry) = names.get("forecast.weather.svc.cluster.local") {
//!     println!("{} has the addresses {:?}", entry.name(), entry.ipv4());
//! }
//! client.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `aws-lc-rs` | yes | adds the crypto provider aws-lc-rs, the default provider |
//! | `metrics` | no | records metrics through the `metrics` facade; see below |
//! | `ring` | no | adds the crypto provider ring, the default provider without `aws-lc-rs` |
//! | `test-util` | no | adds constructors for tests: `WatchSender::new`, `decode` functions |
//!
//! Features are additive. Without `aws-lc-rs` and `ring`, the program sets a crypto provider
//! ([`NdsClientBuilder::with_crypto_provider`]) and the files of a certificate
//! ([`ConfigBuilder::with_certificate_files`]), because the client cannot generate keys.
//!
//! # Observability
//!
//! The client logs through `tracing`: certificates and the begin and end of streams at info, failures with their
//! consequence at warn, pushes at debug. [`Health`](health::Health) lists the components that fail, with the reason and
//! the time of the first failure. The feature `metrics` adds these metrics; a metric that Istio's agent also has uses
//! the name of the agent:
//!
//! | metric | meaning |
//! |---|---|
//! | `istio_agent_cert_expiry_seconds` (`resource_name`) | seconds until the certificate expires; negative afterwards |
//! | `istio_agent_num_outgoing_requests`, `istio_agent_num_failed_outgoing_requests` (`request_type`) | certificate requests, and those that failed |
//! | `istio_agent_outgoing_latency` (`request_type`) | total duration of certificate requests in milliseconds |
//! | `istio_agent_istiod_connection_failures` | streams that could not be opened or stalled |
//! | `istio_agent_istiod_connection_terminations` (`type`) | streams that ended: `error` or `cancelled` |
//! | `istio_agent_xds_proxy_requests`, `istio_agent_xds_proxy_responses` | xDS messages to and from istiod |
//! | `nds_client_certificate_failures_total` (`kind`) | failed certificate requests by [`ErrorKind`] |
//! | `nds_client_pushes_total` (`type`, `outcome`) | pushes: `accepted`, `rejected`, `unchanged` |
//! | `nds_client_push_seconds` (`type`) | duration from the receipt of a push to its publication |
//! | `nds_client_names`, `nds_client_clusters`, `nds_client_endpoint_subscriptions` | current number of names, clusters and EDS subscriptions |
//! | `nds_client_sync_state` (`state`) | 1 for the current [`SyncState`](health::SyncState), 0 for the others |
//! | `nds_client_failing` (`component`) | 1 for each [`Component`](health::Component) that fails, else 0 |

#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod backoff;
mod certificates;
mod client;
mod clock;
pub mod config;
mod duration;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
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
pub mod watch;
mod watched;
mod xds;

pub use rustls;

pub use self::{
    client::{NdsClient, NdsClientBuilder},
    config::{builder::ConfigBuilder, settings::Config},
    error::{Error, ErrorKind},
    identity::Identity,
    resources::spiffe_id::SpiffeId,
};
