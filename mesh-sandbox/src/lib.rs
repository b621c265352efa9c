//! A whole two-network Istio mesh in one process, from ordinary Kubernetes and Istio YAML: istiod (CA and delta ADS
//! over TLS), east-west gateways, workloads behind sidecars, and the DNS of the world outside.
//!
//! It behaves as istiod, gateways and sidecars do, and not as would be convenient: wherever it were kinder than they
//! are, it would hide a bug until production. What it sends was compared with a real istiod, message by message.
//!
//! ```
//! # async fn test() -> mesh_sandbox::Result<()> {
//! use mesh_sandbox::Sandbox;
//!
//! let sandbox = Sandbox::builder().start().await?; // the example mesh; `mesh_dir` for another
//! let vm = sandbox.vm_files("vms/edge-app")?; // cluster.env, mesh.yaml, istio-token, root-cert.pem, hosts
//! sandbox.stop_gateway("network1").await?; // and see what the program under test makes of it
//! # drop(vm);
//! sandbox.shutdown().await;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test()).unwrap();
//! ```
//!
//! # The folder of a mesh
//!
//! `MESH/<cluster-id>/*.yaml`; `MESH/upstream.hosts` for what DNS outside the mesh knows; `MESH/mesh.yaml` and
//! `MESH/meshNetworks.yaml` for what istiod is told about the mesh, and about networks beside the labels. The first cluster alphabetically is the config cluster:
//! Istio's own kinds are read from it, Services and Pods from all. The folder is followed while it changes; what
//! cannot be used is reported with file and line, and the last good mesh stays.
//!
//! | kind | what of it |
//! |---|---|
//! | Namespace | label `topology.istio.io/network` of `istio-system`: the cluster's network |
//! | Service | ClusterIP, headless, LoadBalancer and `externalIPs` of east-west gateways (labels `topology.istio.io/network`, `networking.istio.io/gatewayPort`), `exportTo` and service account annotations; ExternalName as istiod treats it |
//! | Pod, EndpointSlice, Node, ServiceAccount | endpoints, identity, tlsMode, network, locality, health; without slices a selector picks pods |
//! | ServiceEntry, WorkloadEntry, WorkloadGroup | all of `networking.istio.io/v1` but DYNAMIC_DNS and Unix sockets |
//! | Gateway | servers with TLS mode AUTO_PASSTHROUGH |
//! | PeerAuthentication | mesh, namespace, workload, port |
//! | Sidecar | egress: which hosts a proxy sees |
//! | DestinationRule | subsets, TLS modes, localities and failover, balancing and slow start, outlier detection, circuit breakers, timeouts and keepalive of connections, PROXY protocol |
//!
//! Refused, with file and line:
//!
//! | what | because |
//! |---|---|
//! | every other kind (VirtualService, EnvoyFilter, AuthorizationPolicy, Gateway API, Deployment, …) | nothing here reads it |
//! | a field of an Istio kind that is not imitated (DestinationRule `tunnel`, `zoneAwareLbSetting`, `retryBudget`, `credentialName` beside a `workloadSelector`; Sidecar `ingress`; Gateway servers with other TLS modes, `bind`) | it would change what clients are told, or what a gateway does |
//! | ServiceEntry with resolution DYNAMIC_DNS or endpoints `unix://…` | other kinds of clusters and addresses |
//! | Service with `trafficDistribution`, `internalTrafficPolicy: Local`, the annotations `traffic.istio.io/nodeSelector` and `networking.istio.io/traffic-distribution` (of the Namespace, too), the labels of persistent sessions | endpoints would be others |
//! | WorkloadEntry with `proxy.istio.io/health-checks-enabled` | so would its health |
//! | fields of `mesh.yaml` but the trust domain, its aliases, `connectTimeout`, `tcpKeepalive` and `localityLbSetting` (what shows in listeners alone is taken) | they would change clusters or names |
//! | other YAML beside the folders of clusters | nothing here reads it |
//! | whatever Istio's own validation refuses | a cluster would not take it |
//!
//! # What is different from a real mesh
//!
//! * **Addresses.** 10.10.1.11 cannot be bound here, so everything listens on 127.0.0.1, and EDS carries those sockets;
//!   [`AddressBook`] maps them to the YAML's addresses and back. Names keep the YAML's addresses.
//! * **What runs in the pods.** HTTP ports answer JSON about the caller (`/bytes/N`, `/echo`, `/status/CODE` do more;
//!   gRPC health checks are answered, other gRPC calls echoed); others echo lines as `<pod>: <line>`. [`Sandbox::serve`]
//!   puts an application of yours there.
//! * **Not imitated.** LDS and RDS (`Unimplemented`), state-of-the-world ADS, auto-registration, the clusters
//!   `inbound|…` of what a node serves itself, ambient mode, the limit of requests per second, several roots. Of a cluster
//!   there is what decides a connection, and nothing of telemetry.
//!
//! # Faults
//!
//! [`Sandbox::stop_istiod`], [`Sandbox::slow_istiod`], [`Sandbox::stop_gateway`], [`Sandbox::slow_gateway`],
//! [`Sandbox::impersonate`],
//! [`Sandbox::expire_workload`], [`Sandbox::revoke_tokens`], [`Sandbox::push_broken_names`]; tokens that expire or have
//! a wrong audience ([`TokenOptions`]); certificates of short life and connections of short age ([`SandboxBuilder`]).
//! [`Events`] tell what happened.
//!
//! Nothing process-wide is touched: no default crypto provider, no subscriber, no signal handler.

#![forbid(unsafe_code)]

mod address_book;
mod data_plane;
mod dns;
mod error;
mod event;
mod example;
mod gateway;
mod hello;
mod istiod;
mod listen;
mod model;
mod pki;
mod place;
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
pub use place::Place;
pub use sandbox::{Sandbox, SandboxBuilder};
pub use vm_files::VmFiles;

#[cfg(test)]
mod tests {
    /// The lines of `yaml/read.rs` that name a kind, against the table above.
    #[test]
    fn every_kind_that_is_read_stands_in_the_documentation() {
        let kinds = include_str!("yaml/read.rs").lines().filter(|line| line.contains(") => Object::"));
        let kinds: Vec<_> = kinds.filter_map(|line| line.split('"').nth(3)).collect();
        let table: Vec<_> =
            include_str!("lib.rs").lines().filter(|line| line.starts_with("//! | ")).collect();
        assert!(kinds.len() > 10, "{kinds:?}");
        for kind in kinds {
            let named = |row: &&str| row.split('|').nth(1).is_some_and(|kinds| kinds.contains(kind));
            assert!(table.iter().any(named), "{kind} is missing in the table of src/lib.rs");
        }
    }
}
