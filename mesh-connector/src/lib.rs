//! Connects a VM process to the services of an Istio mesh with mesh mTLS, without a sidecar, across networks through
//! their east-west gateways.
//!
//! [`Mesh::join`] joins; [`Mesh::connect`] goes from a name and a service port to a stream: the name to the cluster
//! that istiod describes, the cluster to one of its endpoints, the endpoint to a TCP connection and a TLS handshake
//! in which both ends prove their SPIFFE identity.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use mesh_connector::{Config, Mesh};
//! use tokio::io::AsyncWriteExt as _;
//!
//! let mesh = Mesh::join(Config::from_vm_files("/var/lib/sidestep")?).await?;
//! let mut stream = mesh.connect("forecast.weather", 3002).await?;
//! println!("talking to {:?} over {}", stream.connection().peer(), stream.connection().endpoint());
//! stream.write_all(b"hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it does, and what it does not see
//!
//! Everything that decides a connection comes from istiod's clusters and endpoints (CDS, EDS): DestinationRules,
//! locality, health, weights, SNI, expected identities. VirtualService rules, HTTP retries and the mesh's
//! `outboundTrafficPolicy` are not in there: [`Outside`] and [`Target::with_subset`] stand in for what a client can
//! decide itself. Single pods of headless services in other networks cannot be reached: no gateway forwards to them.
//! [`Explanation`] says for each target what is not visible, and what a rule says that is not applied.
//!
//! | capability | state |
//! |---|---|
//! | by name, short name, ClusterIP or virtual IP; subsets | yes |
//! | EDS, inline (`STATIC`, `STRICT_DNS`) and `ORIGINAL_DST` clusters | yes |
//! | priorities and failover, locality and endpoint weights, health, panic threshold, slow start, round robin, least request, random | yes, as the cluster says |
//! | hashes (`RING_HASH`, `MAGLEV`) | by chance: connections have nothing to hash |
//! | outlier detection by failures in a row, limits of connections, connect timeout, TCP keepalive, PROXY protocol | yes, as the cluster says |
//! | life of connections (`idleTimeout`, `maxConnectionDuration`, `maxRequestsPerConnection`) | by `HttpClient`, gRPC channels and the bridge's HTTP proxy; not by raw streams |
//! | limits of requests and retries, outlier detection by success rate | no: they are of a proxy's requests |
//! | mesh mTLS, SPIFFE identity verified inside the handshake (exact, prefix, suffix, part, expression, any case), TLS 1.2 and 1.3 as the mesh allows | yes |
//! | plaintext where the control plane says so beyond doubt (DestinationRule DISABLE included) | yes, refused under [`Mtls::Required`] |
//! | DestinationRule tls modes SIMPLE and MUTUAL, certificates in files | yes, refused under [`Mtls::Required`] |
//! | the same with a `credentialName`, or without verification | no: a typed error that names it |
//! | control planes that send names alone | by [`MeshBuilder::with_fixed_gateways`] |
//!
//! # What can be seen
//!
//! [`Mesh::explain`] tells the whole decision about a connection, [`Mesh::health`] how the membership and
//! each endpoint in use are doing,
//! [`ConnectionInfo`] what a connection is. `tracing` has a span for each connection (`connect`) and each attempt
//! (`attempt`). With the feature `metrics` a program that has installed a recorder gets, with Istio's names and labels
//! for `reporter="source"`: `istio_tcp_connections_opened_total`, `istio_tcp_connections_closed_total`,
//! `istio_tcp_sent_bytes_total` (what the caller read: the proxy's view), `istio_tcp_received_bytes_total` (what it
//! wrote); and `mesh_connector_connect_failures_total`, by target and kind of error.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | the crypto provider of that name |
//! | `ring` | no | the crypto provider of that name |
//! | `bridge` | no | `bridge`: proxies, Unix sockets and loopback addresses for clients that accept no connector |
//! | `reqwest` | no | the bridge as a ready proxy and client builder of reqwest |
//! | `tonic` | no | `MeshChannel`: a channel for gRPC clients of tonic |
//! | `tower` | no | `MeshConnector` as a tower service from [`Target`] to [`MeshStream`] |
//! | `metrics` | no | Istio's standard metrics of connections, through the `metrics` facade |
//! | `hyper` | no | `MeshConnector` as a connector of hyper-util, and `HttpClient` |

#![forbid(unsafe_code)]

mod balance;
#[cfg(feature = "bridge")]
pub mod bridge;
mod builder;
mod cluster;
mod connection;
mod connector;
pub mod danger;
mod dial;
mod dns;
mod error;
mod explain;
#[cfg(feature = "tonic")]
mod grpc;
mod hosts;
#[cfg(feature = "hyper")]
mod http;
#[cfg(feature = "hyper")]
mod http_client;
mod membership;
mod mesh;
mod metrics;
mod settings;
mod socket;
mod stream;
mod target;
#[cfg(test)]
mod testing;
mod tls;
mod transport;

pub use mesh_resolver::{self, MeshResolver, Upstream};
pub use nds_client::{self, Config, NdsClient, SpiffeId};

#[cfg(feature = "tonic")]
pub use self::grpc::MeshChannel;
pub use self::{
    builder::MeshBuilder,
    connection::{ConnectionInfo, Transport},
    connector::MeshConnector,
    error::{Attempt, Error, ErrorKind, IdentityMismatch},
    explain::{
        EndpointState, ExplainedAttempt, ExplainedCluster, ExplainedConnection, ExplainedEndpoint,
        ExplainedFailure, ExplainedMembership, ExplainedName, ExplainedOutside, ExplainedTarget,
        ExplainedTransport, Explanation, NameFound, Probe,
    },
    hosts::EndpointStatus,
    mesh::{Mesh, MeshHealth, NextHop},
    settings::{Mtls, Outside},
    stream::{MeshStream, UnwatchedStream},
    target::{Host, Protocol, Target},
};
#[cfg(feature = "hyper")]
pub use self::{http::ResponseBody, http_client::HttpClient};

const _: fn() = || {
    fn shareable<T: Clone + Send + Sync + 'static>() {}
    fn stream<T: Send + Sync + Unpin + 'static>() {}
    shareable::<Mesh>();
    shareable::<MeshConnector>();
    shareable::<ConnectionInfo>();
    shareable::<Error>();
    stream::<MeshStream>();
    stream::<UnwatchedStream>();
};
