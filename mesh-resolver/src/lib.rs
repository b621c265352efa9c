//! Resolves the names of an Istio mesh inside the process, with upstream DNS for all other names.
//!
//! istiod pushes the names of the mesh and their addresses to [`nds_client`]. This crate looks names up in that name
//! table by the rules of Istio's DNS proxy and sends all other names to the DNS servers of the host. It needs no
//! sidecar, no port 53 and no iptables rules: a lookup is a function call.
//!
//! ```
//! use mesh_resolver::{MeshResolver, SearchScope, Source, Upstream};
//! # use nds_client::{health::Health, resources::name_table::NameTable, watch::WatchSender};
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
//! let scope = SearchScope::new("vms", "svc.cluster.local");
//! let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), scope)
//!     .with_upstream(Upstream::none())
//!     .build()?;
//!
//! let found = resolver.lookup_ip("forecast.weather").await?;
//! assert_eq!(found.addresses()[0].to_string(), "10.1.2.3");
//! assert_eq!(found.canonical_name(), "forecast.weather.svc.cluster.local");
//! assert!(matches!(found.source(), Source::Mesh { .. }));
//!
//! // Only the name table, without async and without allocation:
//! assert!(resolver.try_lookup("forecast.weather.svc").is_some());
//! # Ok(())
//! # }
//! ```
//!
//! # Order of sources
//!
//! 1. An address literal resolves to itself.
//! 2. The name table: an exact name, a short name, a name in the search domain, or a wildcard ([`MatchKind`]).
//! 3. The `hosts` file, and `localhost`.
//! 4. Upstream DNS ([`Upstream`]), with the host's search list. Each completed name is looked up in the name table
//!    first.
//! 5. The system's `getaddrinfo`, if it has further sources ([`Upstream::with_getaddrinfo`]).
//!
//! Upstream DNS uses the servers of the host or of the configuration, never a public resolver.
//! [`MeshResolver::lookup_ip`] describes lookups before istiod's first name table.
//!
//! # Features
//!
//! | feature | API |
//! |---|---|
//! | `hickory` | `hickory::MeshProvider`: a connection provider for hickory's `Resolver` |
//! | `hickory-server` | `hickory_server::MeshHandler`: a request handler for hickory's `Server` |
//! | `hyper` | `MeshResolver` implements `Service<Name>`, the resolver of hyper-util's `HttpConnector` |
//! | `listener` | `listener::DnsListener`: a DNS server for programs that send DNS queries (Unix) |
//! | `metrics` | counters and histograms through the `metrics` facade: see [Logs and metrics](#logs-and-metrics) |
//! | `reqwest` | `MeshResolver` implements `reqwest::dns::Resolve` |
//! | `tonic` | `tonic::channel`: a gRPC channel over all addresses of a name, updated when they change |
//! | `tower` | `tower::LookupService`: a tower service that maps names to addresses |
//! | `aws-lc-rs` (default), `ring` | the cryptographic provider of [`nds_client`] |
//!
//! An adapter for another library lives in the public module named like its feature, together with the `impl` blocks
//! that it adds to [`MeshResolver`].
//!
//! Lookups need a tokio runtime with IO and time enabled, except [`try_lookup`](MeshResolver::try_lookup),
//! [`try_lookup_ip`](MeshResolver::try_lookup_ip) and [`canonical_name`](MeshResolver::canonical_name).
//!
//! # Differences from Istio's agent
//!
//! | behaviour of the agent | function | behaviour of this crate |
//! |---|---|---|
//! | short names, wildcards, first search domain, case, trailing dots | `pkg/dns/client/dns.go` | the same, with the three differences below |
//! | a known name without addresses of the requested family is NODATA, not NXDOMAIN | `lookupHost` | the same |
//! | other record types go upstream | `lookupHost` | the same (`hickory`, `listener`) |
//! | shuffled answers, TTL of 30 seconds | `roundRobinResponse`, `defaultTTLInSeconds` | the same; a TTL of 0 in the module `hickory`, which caches |
//! | a new table replaces the old one immediately; entries without a valid address are ignored | `UpdateLookupTable` | the same |
//! | before the first table, SERVFAIL for every name; on port 53, upstream DNS | `ServeDNS` | names in mesh domains, and names with one or two labels, wait with a timeout; other names go upstream |
//! | upstream servers are tried in random order, and any response is accepted | `queryUpstreamSequential` | like glibc: in order; SERVFAIL, NOTIMP and REFUSED lead to the next server |
//! | optionally, all upstream servers are queried simultaneously (`DNS_FORWARD_PARALLEL`) | `queryUpstreamParallel` | not supported: one server sees each name |
//! | 5 seconds each for connecting, writing and reading | `NewProxy` | `timeout` of resolv.conf for the whole query |
//! | `/var/lib/istio/resolv.conf` precedes the host's file, for root on port 53 | `NewLocalDNSServer` | [`Upstream::resolv_conf`] selects a file |
//! | no cache; SERVFAIL for an answer too long for UDP | `queryUpstream` | a cache by TTL; TCP for truncated answers |
//! | DNS listener on port 15053 | `StartDNS` | `listener::DnsListener`, whose documentation lists further differences |
//!
//! The lookup rules of the name table differ deliberately in three points:
//!
//! * Suffixes are compared by label, not as strings: `a.foons1.svc.cluster.local` does not end in the search domain
//!   `ns1.svc.cluster.local`.
//! * If several entries match a name, a Kubernetes service wins over a ServiceEntry, and the more literal match wins:
//!   the exact name, then a short name, then the search domain. In the agent, the iteration order of a Go map decides,
//!   and an expansion hides an entry of exactly that name. A ServiceEntry can therefore not take over a short name of a
//!   service, such as `forecast.weather`: see [Short names](#short-names).
//! * Only Kubernetes services whose key is `short.ns.<domain>` have short names.
//!
//! # Short names
//!
//! A ServiceEntry may have any host, also one that is a short name of a Kubernetes service: `forecast`,
//! `forecast.weather` or `forecast.weather.svc`. Every lookup, the DNS listener and the routing of the mesh connector
//! select the service. [`MeshResolver::shadowed_name`] returns the ServiceEntry that is not found.
//!
//! Istio has no single answer for such a name:
//!
//! | request in a pod | result |
//! |---|---|
//! | TCP, or a port whose protocol is detected, without DNS capture | the service: the search list (`ndots:5`) completes the name to `forecast.weather.svc.cluster.local` before it is tried unchanged, and cluster DNS knows only the service |
//! | with DNS capture | either: both entries have the same key in the agent's map, and the iteration order of a Go map decides after each push (`pkg/dns/client/dns.go`, `BuildAlternateHosts`) |
//! | HTTP on a port with a declared protocol | the ServiceEntry: the sidecar routes by the Host header, and istiod assigns the domain to the host that equals it (`pilot/pkg/networking/core/httproute.go`, `dedupeDomains`) |
//!
//! This crate always selects the service, because otherwise everybody who may create a ServiceEntry could receive its
//! traffic.
//!
//! # Logs and metrics
//!
//! Each lookup, each query to a listener, each name that is resolved upstream and each query to an upstream server
//! emits a `tracing` event at level debug. A query to an upstream server that takes a second or longer is logged at
//! level info. With the feature `metrics`, these metrics are recorded:
//!
//! | metric | value | labels |
//! |---|---|---|
//! | `mesh_resolver_lookups_total` | lookups | `outcome`: `mesh`, `hosts_file`, `literal`, `stale`, `getaddrinfo`, `upstream`, or [`ErrorKind::as_label`] |
//! | `mesh_resolver_lookup_seconds` | duration of a lookup that needed more than the name table | `outcome`, as above |
//! | `mesh_resolver_upstream_lookup_seconds` | duration of the upstream lookup of one name, for IPv4 and IPv6 together | `outcome`: `upstream`, `stale`, or the reason of the failure |
//! | `mesh_resolver_upstream_query_seconds` | duration of one query to one server | `server`; `outcome`: `answer`, `name_not_found`, `failure`, `timeout`, `unreachable`, `local_resource` |
//! | `mesh_resolver_cached_answers_total` | answers from the upstream cache | `kind`: `fresh`, `stale` |
//! | `mesh_resolver_listener_queries_total` | queries to listeners | `outcome`: the fields of `listener::ListenerStats` |
//!
//! # What a lookup costs
//!
//! [`MeshResolver::try_lookup`] reads a hash table: it takes no lock, allocates nothing and reads no clock.
//! [`MeshResolver::try_lookup_ip`] and [`MeshResolver::lookup_ip`] do more than twice that work for a mesh name: they
//! record the name for [`MeshResolver::last_resolved`], copy it into the answer and count the lookup.
//! `cargo run --release -p mesh-bench -- lookup` compares them with hickory's in-memory lookup and with a hash map of
//! strings; `-- dns` compares the listener with other servers. `bench/README.md` explains the results.
//!
//! # Raw addresses
//!
//! The addresses of mesh names are exactly those of istiod's table: ClusterIPs, pod addresses, and for a ServiceEntry
//! without addresses a virtual IP of 240.240.0.0/16 that only a mesh connector can dial. **Dialling such an address
//! directly bypasses the mesh**: the connection is plaintext, without mTLS, gateways or load balancing policies, and
//! reaches whatever owns the address in the local network.
//!
//! Clients that resolve and dial by themselves, such as reqwest, hyper's `HttpConnector`, or callers of
//! `getaddrinfo`, have two ways to use the mesh:
//!
//! * `Bridge::resolver` in the crate `mesh-connector` returns a resolver that answers mesh names with loopback
//!   addresses on which the bridge listens. The bridge forwards each connection through the mesh.
//! * [`with_local_addresses`](MeshResolverBuilder::with_local_addresses) does the same for other implementations of
//!   [`LocalAddresses`].
//!
//! A table may also contain hosts outside the mesh that a ServiceEntry declares (`MESH_EXTERNAL`), with a virtual IP
//! instead of their real address. A resolver from [`MeshResolver::new`] resolves them through upstream DNS
//! ([`with_upstream_for_external_services`](MeshResolverBuilder::with_upstream_for_external_services)), and
//! [`with_upstream_for_names`](MeshResolverBuilder::with_upstream_for_names) selects names by a predicate.

#![forbid(unsafe_code)]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod answer;
mod builder;
mod dns;
mod error;
#[cfg(all(fuzzing, feature = "listener"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "hickory")]
pub mod hickory;
#[cfg(feature = "hickory-server")]
pub mod hickory_server;
mod host;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod iter;
#[cfg(all(feature = "listener", unix))]
pub mod listener;
mod lookup;
mod name;
mod names;
mod observe;
mod policy;
#[cfg(feature = "reqwest")]
pub mod reqwest;
mod resolver;
mod reverse_index;
mod search_scope;
#[cfg(feature = "tonic")]
pub mod tonic;
#[cfg(feature = "tower")]
pub mod tower;
mod upstream;

pub use self::{
    answer::{Addresses, Lookup, Source},
    builder::MeshResolverBuilder,
    error::{Error, ErrorKind},
    lookup::MatchKind,
    policy::{Asker, LocalAddresses, NoLocalAddress},
    resolver::MeshResolver,
    search_scope::SearchScope,
    upstream::Upstream,
};

const _: fn() = || {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<MeshResolver>();
};
