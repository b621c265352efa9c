//! A complete two-network Istio mesh in one process, from ordinary Kubernetes and Istio YAML: istiod (CA and delta ADS
//! over TLS), east-west gateways, workloads behind sidecars, and the DNS server outside the mesh.
//!
//! The sandbox behaves as strictly as istiod, gateways and sidecars do. A more lenient sandbox would hide bugs until
//! production. The xDS messages of the sandbox were compared with those of a real istiod, one by one.
//!
//! ```
//! # async fn test() -> Result<(), mesh_sandbox::Error> {
//! use mesh_sandbox::Sandbox;
//!
//! let sandbox = Sandbox::builder().start().await?; // uses the example mesh
//! let vm = sandbox.vm_files("vms/edge-app")?; // cluster.env, mesh.yaml, istio-token, root-cert.pem, hosts
//! sandbox.stop_gateway("network1").await?; // then test how the program reacts
//! # drop(vm);
//! sandbox.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test()).unwrap();
//! ```
//!
//! # The mesh folder
//!
//! The folder contains `<cluster-id>/*.yaml` for each cluster; `upstream.hosts`, the names that DNS outside the mesh
//! answers; `mesh.yaml`, the MeshConfig of istiod; and `meshNetworks.yaml`, networks that labels do not define. The
//! first cluster in alphabetical order is the config cluster: Istio kinds are read from this cluster, Services and Pods
//! from all clusters. The sandbox reloads the folder when it changes. Invalid YAML is reported with file and line, and
//! the previous mesh stays in use.
//!
//! | kind | supported |
//! |---|---|
//! | Namespace | label `topology.istio.io/network` of `istio-system`: the network of the cluster |
//! | Service | ClusterIP, headless, LoadBalancer and `externalIPs` of east-west gateways (labels `topology.istio.io/network`, `networking.istio.io/gatewayPort`), `exportTo` and service account annotations; ExternalName as istiod treats it |
//! | Pod, EndpointSlice, Node, ServiceAccount | endpoints, identity, tlsMode, network, locality, health; without slices, the selector of the service selects pods |
//! | ServiceEntry, WorkloadEntry, WorkloadGroup | all of `networking.istio.io/v1` except DYNAMIC_DNS and Unix sockets |
//! | Gateway | servers with TLS mode AUTO_PASSTHROUGH |
//! | PeerAuthentication | mesh, namespace, workload, port |
//! | Sidecar | egress: the hosts that are visible to a proxy |
//! | DestinationRule | subsets, TLS modes, localities and failover, load balancing and slow start, outlier detection, circuit breakers, connection timeouts and keepalive, PROXY protocol |
//!
//! The sandbox rejects, with file and line:
//!
//! | rejected | reason |
//! |---|---|
//! | every other kind (VirtualService, EnvoyFilter, AuthorizationPolicy, Gateway API, Deployment, …) | the sandbox does not read it |
//! | an unsupported field of an Istio kind (DestinationRule `tunnel`, `zoneAwareLbSetting`, `retryBudget`, `credentialName` together with a `workloadSelector`; Sidecar `ingress`; Gateway servers with other TLS modes, `bind`) | it would change the resources that clients receive, or the behaviour of a gateway |
//! | ServiceEntry with resolution DYNAMIC_DNS or endpoints `unix://…` | it needs other types of clusters or addresses |
//! | Service with `trafficDistribution`, `internalTrafficPolicy: Local`, or the annotations `traffic.istio.io/nodeSelector` and `networking.istio.io/traffic-distribution` (also on the Namespace), or the labels of persistent sessions | it would change the endpoints |
//! | WorkloadEntry with `proxy.istio.io/health-checks-enabled` | it would change the health of endpoints |
//! | fields of `mesh.yaml` except the trust domain, its aliases, `connectTimeout`, `tcpKeepalive` and `localityLbSetting` (fields that affect only listeners are accepted and ignored) | they would change clusters or names |
//! | other YAML next to the cluster folders | the sandbox does not read it |
//! | YAML that Istio's validation rejects | a real cluster would not accept it |
//!
//! # Differences from a real mesh
//!
//! * **Addresses.** Addresses such as 10.10.1.11 cannot be bound here. Every listener is on 127.0.0.1, and EDS contains
//!   these sockets. An [`AddressBook`](address_book::AddressBook) maps them to the addresses in the YAML and back.
//!   The name table contains the addresses in the YAML.
//! * **Applications.** HTTP ports answer with JSON about the caller. The paths `/bytes/N`, `/echo` and `/status/CODE`
//!   return other bodies; gRPC health checks succeed, and other gRPC calls return their messages. Other ports answer
//!   each line with `<pod>: <line>`. [`Sandbox::serve`] puts another application behind a service port.
//! * **Ambient mode.** It is on if a pod has the annotation `ambient.istio.io/redirection: enabled`. EDS and CDS then
//!   describe HBONE tunnels as istiod does with `PILOT_ENABLE_AMBIENT`, but nothing accepts HBONE.
//! * **Not supported.** LDS and RDS (`Unimplemented`), state-of-the-world ADS, auto-registration, the clusters
//!   `inbound|…` of the ports that a node serves itself, the limit of requests per second, and several
//!   roots. Clusters contain the fields that decide a connection, and no telemetry.
//!
//! # Faults
//!
//! | fault | ended by |
//! |---|---|
//! | [`Sandbox::stop_istiod`], [`Sandbox::slow_istiod`], a client that crashes istiod | [`Sandbox::restore_istiod`] |
//! | [`Sandbox::stop_gateway`], [`Sandbox::slow_gateway`] | [`Sandbox::restore_gateway`] |
//! | [`Sandbox::impersonate`], [`Sandbox::expire_workload`] | [`Sandbox::restore_workload`] |
//! | [`Sandbox::push_invalid_name_table`] | the next push |
//! | [`Sandbox::revoke_tokens`], and [`TokenOptions`] with a wrong audience or an expired lifetime | a new token |
//!
//! [`SandboxBuilder`] can set short lifetimes of certificates and connections. [`Events`](event::Events) record
//! connections, pushes and errors.
//!
//! The sandbox changes no process-wide state: it installs no default crypto provider, no tracing subscriber and no
//! signal handler.

#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

pub mod address_book;
mod data_plane;
mod dns;
mod error;
mod events;
mod example;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod hello;
mod istiod;
mod listen;
mod location;
mod model;
mod pki;
mod sandbox;
mod state;
mod tasks;
mod vm_files;
mod workload;
mod xds;
mod yaml;

pub use error::{Error, ErrorKind};
pub use events::Event;
pub use location::SourceLocation;
pub use pki::TokenOptions;
pub use sandbox::{Sandbox, SandboxBuilder};
pub use vm_files::VmFiles;

/// The log of events, and the types in an [`Event`].
pub mod event {
    pub use crate::events::{
        AdsConnection, Events, GatewayEvent, GatewayOutcome, Rejection, WorkloadEvent, WorkloadOutcome,
    };
}

#[cfg(test)]
mod tests {
    /// Compares the kinds that `yaml/read.rs` reads with the table above.
    #[test]
    fn every_supported_kind_is_in_the_documentation() {
        let kinds = include_str!("yaml/read.rs").lines().filter(|line| line.contains(") => Object::"));
        let kinds: Vec<_> = kinds.filter_map(|line| line.split('"').nth(3)).collect();
        let table: Vec<_> =
            include_str!("lib.rs").lines().filter(|line| line.starts_with("//! | ")).collect();
        assert!(kinds.len() > 10, "{kinds:?}");
        for kind in kinds {
            let named = |row: &&str| row.split('|').nth(1).is_some_and(|kinds| kinds.contains(kind));
            assert!(table.iter().any(named), "{kind} is missing from the table in src/lib.rs");
        }
    }
}
