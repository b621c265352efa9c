//! Resolves the names of an Istio mesh inside the process, with upstream DNS behind them.
//!
//! istiod tells [`nds_client`] every name of the mesh and its addresses. This crate reads names from that table as
//! Istio's DNS proxy would, and sends everything else where the host would have sent it. No sidecar, no port 53, no
//! iptables: a lookup is a function call.
//!
//! ```
//! use mesh_resolver::{MeshResolver, Scope, Source, Upstream};
//! # use nds_client::{health::Health, watch::WatchSender, resources::name_table::NameTable};
//! # use prost::Message as _;
//! # use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let forecast = NameInfo {
//! #     ips: vec!["10.1.2.3".into()], registry: "Kubernetes".into(),
//! #     shortname: "forecast".into(), namespace: "weather".into(), ..NameInfo::default()
//! # };
//! # let wire = Wire { table: [("forecast.weather.svc.cluster.local".into(), forecast)].into() };
//! # let names = WatchSender::new(NameTable::decode(&wire.encode_to_vec())?);
//! # let health = WatchSender::new(Health::default());
//! // In a program: MeshResolver::new(&NdsClient::join(config).await?)?
//! let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), Scope::new("vms", "svc.cluster.local"))
//!     .with_upstream(Upstream::none())
//!     .build()?;
//!
//! let found = resolver.lookup_ip("forecast.weather").await?;
//! assert_eq!(found.addresses()[0].to_string(), "10.1.2.3");
//! assert_eq!(found.canonical_name(), "forecast.weather.svc.cluster.local");
//! assert!(matches!(found.source(), Source::Mesh { .. }));
//!
//! // The table alone, without async and without an allocation:
//! assert!(resolver.try_lookup("forecast.weather.svc").is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # Who answers
//!
//! 1. An address literal is itself.
//! 2. The mesh's table: the name as it is, as a short name, by the search domain, by a wildcard
//!    ([`Via`] says which).
//! 3. The `hosts` file, and `localhost`.
//! 4. Upstream DNS ([`Upstream`]), by the host's search list. Each completed name is looked for in the table first.
//! 5. The system's `getaddrinfo`, where it may know more ([`Upstream::with_getaddrinfo`]).
//!
//! Upstream DNS is what the host has, or what the program says; never a public resolver.
//! [`MeshResolver::lookup_ip`] says what happens before istiod's first table.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `hickory` | `hickory::MeshProvider`: hickory's own `Resolver` over the mesh |
//! | `hickory-server` | `hickory::MeshHandler`: the mesh in a server of hickory's |
//! | `hyper` | `MeshResolver` as the resolver of hyper-util's `HttpConnector`, a tower `Service<Name>` |
//! | `listener` | `listener::DnsListener`: a DNS server for programs that only speak DNS (Unix) |
//! | `metrics` | counters and latencies through the `metrics` facade: below |
//! | `reqwest` | `MeshResolver` as `reqwest::dns::Resolve` |
//! | `tonic` | `tonic::channel`: a gRPC channel over all addresses of a name, which follows their changes |
//! | `tower` | `tower::LookupService`: a tower `Service` from names to addresses |
//! | `aws-lc-rs` (default), `ring` | the crypto provider of [`nds_client`] |
//!
//! Whoever resolves needs a tokio runtime with IO and time enabled, except for
//! [`try_lookup`](MeshResolver::try_lookup), [`try_lookup_ip`](MeshResolver::try_lookup_ip) and
//! [`resolve`](MeshResolver::resolve).
//!
//! # What of Istio's DNS proxy is here
//!
//! | behaviour | in Istio | here |
//! |---|---|---|
//! | short names, wildcards, first search domain, case, trailing dots | `pkg/dns/client/dns.go` | as there, with three deliberate differences: below |
//! | a known name without the family asked for has no data; it is not unknown | `lookupHost` | as there |
//! | other record types go upstream | `lookupHost` | as there (`hickory`) |
//! | shuffled answers, TTL of 30 seconds | `roundRobinResponse`, `defaultTTLInSeconds` | as there; TTL 0 before hickory's cache |
//! | a new table replaces the old one at once; entries without a usable address are not in it | `UpdateLookupTable` | as there |
//! | SERVFAIL for everything before the first table; on port 53 upstream is asked | `ServeDNS` | a bounded wait for mesh names, upstream for others, on any port |
//! | upstream: one server after the other in random order, any response counts | `queryUpstreamSequential` | as glibc: in order, SERVFAIL, NOTIMP and REFUSED make way for the next server |
//! | upstream: all servers at once (`DNS_FORWARD_PARALLEL`) | `queryUpstreamParallel` | not there: one server sees each name |
//! | 5 seconds for dialling, writing and reading each | `NewProxy` | resolv.conf's `timeout` for all of it |
//! | `/var/lib/istio/resolv.conf` before the host's, for root on port 53 | `NewLocalDNSServer` | `Upstream::resolv_conf` |
//! | nothing is kept, an answer too long for UDP is SERVFAIL | `queryUpstream` | kept for as long as answers say; TCP where truncated |
//! | DNS listener on port 15053 | `StartDNS` | `listener::DnsListener`, which names its own differences |
//!
//! Deliberate differences in the table's semantics:
//!
//! * Suffixes are compared label by label, where the agent compares text: `a.foons1.svc.cluster.local` does not end
//!   in the search domain `ns1.svc.cluster.local`.
//! * Where entries collide, the more literal reading wins: the name itself, then a short name, then the search
//!   domain. In the agent the order of a Go map decides, and an expansion hides a service of that very name.
//! * Short names belong to Kubernetes services named `short.ns.<domain>`, which is what Kubernetes calls them.
//!
//! # Watching it
//!
//! At debug there is an event of `tracing` for each lookup, each query to a listener, each name asked for upstream and each
//! server asked; a server that takes a second or more is told at info. With the feature `metrics`:
//!
//! | metric | labels |
//! |---|---|
//! | `mesh_resolver_lookups_total` | `outcome`: `mesh`, `hosts`, `literal`, `stale`, `system`, `upstream`, or [`ErrorKind::as_label`] |
//! | `mesh_resolver_lookup_seconds` | a lookup that the table did not answer at once: a clock would take as long as that. `outcome` as above |
//! | `mesh_resolver_upstream_seconds` | a name, both families. `outcome`: `upstream`, `stale`, or why there is no address |
//! | `mesh_resolver_server_seconds` | one question to one server. `server`; `outcome`: `answer`, `name_not_found`, `failure`, `timeout`, `unreachable` |
//! | `mesh_resolver_cached_total` | `kind`: `fresh`, `stale` |
//! | `mesh_resolver_queries_total` | a listener's queries. `outcome`: the fields of `listener::ListenerStats` |
//!
//! # What a lookup costs
//!
//! [`MeshResolver::try_lookup`] is a look into a hash table: no lock, no allocation, no clock. [`MeshResolver::try_lookup_ip`]
//! and [`MeshResolver::lookup_ip`] do more than twice the work for a mesh name: they note the name for
//! [`MeshResolver::last_resolved`], copy it into the answer and count the lookup. `cargo run --release -p mesh-bench -- lookup`
//! measures them on this machine, beside hickory's lookup in memory and beside a hash map of strings; `-- dns` the listener
//! beside other servers. `bench/README.md` says what decides the figures.
//!
//! # Virtual addresses
//!
//! Answers are what istiod's table says: ClusterIPs, and for a ServiceEntry without addresses one out of
//! 240.240.0.0/16, which nothing but a mesh connector can dial. That includes hosts outside the mesh that somebody
//! declared in a ServiceEntry (`MESH_EXTERNAL`). A program that only resolves, and dials by itself, could reach such a
//! host before it was declared: [`MeshResolver::new`] therefore gives it upstream's answer
//! ([`with_upstream_for_external`](MeshResolverBuilder::with_upstream_for_external);
//! [`with_external`](MeshResolverBuilder::with_external) for other sources of that knowledge). A program that accepts
//! only a resolver crosses networks by way of loopback addresses
//! ([`with_local_addresses`](MeshResolverBuilder::with_local_addresses)) behind which a connector listens.

#![forbid(unsafe_code)]

mod answer;
mod builder;
mod dns;
mod error;
#[cfg(all(fuzzing, feature = "listener"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "hickory")]
pub mod hickory;
mod host;
#[cfg(feature = "hyper")]
pub mod hyper;
#[cfg(all(feature = "listener", unix))]
pub mod listener;
mod lookup;
mod mode;
mod name;
mod names;
mod observe;
mod recent;
#[cfg(feature = "reqwest")]
pub mod reqwest;
mod resolver;
mod scope;
#[cfg(feature = "tonic")]
pub mod tonic;
#[cfg(feature = "tower")]
pub mod tower;
mod upstream;

pub use self::{
    answer::{Addresses, IntoIter, Lookup, Source},
    builder::MeshResolverBuilder,
    error::{Error, ErrorKind},
    lookup::Via,
    mode::LocalAddresses,
    resolver::MeshResolver,
    scope::Scope,
    upstream::Upstream,
};

const _: fn() = || {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<MeshResolver>();
};
