//! An adapter for hickory's `Resolver` (feature `hickory`).
//!
//! A program that uses `hickory_resolver::Resolver` keeps its code and replaces the connection provider:
//!
//! ```
//! use hickory_resolver::{Resolver, config::{ResolverConfig, NameServerConfig}};
//! use mesh_resolver::{MeshResolver, SearchScope, Upstream, hickory::MeshProvider};
//! # use nds_client::{health::Health, resources::name_table::NameTable, watch::WatchSender};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (names, health) = (WatchSender::new(NameTable::default()), WatchSender::new(Health::default()));
//! // In a program: MeshResolver::new(&NdsClient::join(config).await?)?
//! let scope = SearchScope::new("vms", "svc.cluster.local");
//! let mesh = MeshResolver::builder(names.subscribe(), health.subscribe(), scope)
//!     .with_upstream(Upstream::none())
//!     .build()?;
//!
//! // With the upstream DNS servers of the mesh resolver:
//! let resolver: Resolver<MeshProvider> = MeshProvider::new(mesh.clone()).into_resolver()?;
//!
//! // Or with other name servers and options:
//! let config = ResolverConfig::from_name_servers(vec![NameServerConfig::udp_and_tcp("192.0.2.53".parse()?)]);
//! let provider = MeshProvider::with_provider(mesh, Default::default());
//! let resolver = Resolver::builder_with_config(config, provider).build()?;
//! # let _: Resolver<MeshProvider> = resolver;
//! # Ok(())
//! # }
//! ```
//!
//! A and AAAA queries for mesh names are answered from the name table. All other queries go upstream, including other
//! record types of mesh names (`pkg/dns/client/dns.go`, `lookupHost`). A mesh name without addresses of the requested
//! family gives an empty answer, not NXDOMAIN. hickory's search list works: a name with the first search domain
//! appended is answered with a CNAME record and the addresses. hickory still answers names in the `hosts` file and
//! under `localhost` itself.
//!
//! Before the first name table, each query is handled like a call of [`MeshResolver::lookup_ip`]: a name that may be a
//! mesh name waits for the table. hickory repeats a failed query `attempts` times.
//!
//! # Caching
//!
//! hickory caches the answers of this provider. Mesh answers therefore have a TTL of zero here (30 seconds
//! elsewhere), so that a change of the name table is visible immediately. hickory caches a negative upstream answer
//! until its TTL expires. To see a new service immediately, set `cache_size` or `negative_max_ttl` to zero, as
//! [`into_resolver`](MeshProvider::into_resolver) does.

pub(crate) mod answer;

use std::{
    fmt,
    future::{Ready, ready},
    io,
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, Stream, stream};
use hickory_resolver::{
    ConnectionProvider, PoolContext, Resolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{
        NetError,
        runtime::{RuntimeProvider, TokioRuntimeProvider},
        xfer::{DnsHandle, FirstAnswer as _},
    },
    proto::{
        op::{DnsRequest, DnsResponse, Message, OpCode, ResponseCode},
        rr::Name,
    },
};

use sidestep_util::error::ErrorCore;

use self::answer::{Response, UpstreamFn, answer};
use crate::{
    error::{Error, ErrorKind},
    policy::Asker,
    resolver::MeshResolver,
    upstream::NoAnswer,
};

/// A hickory connection provider that answers mesh names from the name table and forwards all other queries.
///
/// The provider connects to an upstream server when the first query needs it. An unreachable server does not delay
/// mesh names.
#[derive(Clone)]
pub struct MeshProvider<P = TokioRuntimeProvider> {
    mesh: MeshResolver,
    inner: P,
    upstream_source: UpstreamSource,
}

/// The destination of queries for names outside the mesh.
#[derive(Clone, Copy, Debug)]
enum UpstreamSource {
    /// The name servers of hickory's configuration, reached through the connection provider that this one wraps.
    Configured,
    /// The upstream DNS servers of the mesh resolver.
    MeshResolver,
}

impl MeshProvider {
    /// Creates a provider that forwards queries to the upstream DNS servers of the mesh resolver.
    ///
    /// hickory's configuration must contain a name server, but the provider ignores it.
    #[must_use]
    pub fn new(mesh: MeshResolver) -> Self {
        Self { mesh, inner: TokioRuntimeProvider::default(), upstream_source: UpstreamSource::MeshResolver }
    }

    /// Creates a hickory resolver with the search list and the upstream DNS servers of the mesh resolver. The created
    /// resolver does not cache negative answers.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): hickory rejects the configuration.
    pub fn into_resolver(self) -> Result<Resolver<Self>, Error> {
        let upstream = self.mesh.inner().upstream.state();
        let search = upstream.search().iter().filter_map(|domain| Name::from_ascii(domain).ok()).collect();
        let anywhere = NameServerConfig::udp(Ipv4Addr::UNSPECIFIED.into());
        let config = ResolverConfig::from_parts(None, search, vec![anywhere]);
        let ndots = upstream.ndots();
        let mut builder = Resolver::builder_with_config(config, self);
        let options = builder.options_mut();
        options.ndots = ndots;
        options.attempts = 0;
        options.negative_max_ttl = Some(Duration::ZERO);
        builder.build().map_err(|error| {
            let error =
                ErrorCore::new(ErrorKind::Config, "hickory's resolver cannot be created").with_source(error);
            Error::of_setup(error)
        })
    }
}

impl<P> MeshProvider<P> {
    /// Creates a provider that forwards queries to the name servers of hickory's configuration, through the provider
    /// `inner`.
    #[must_use]
    pub fn with_provider(mesh: MeshResolver, inner: P) -> Self {
        Self { mesh, inner, upstream_source: UpstreamSource::Configured }
    }
}

/// Returns a hickory configuration that sends all queries to a DNS listener.
///
/// Use it for code that requires the type `TokioResolver`:
/// `TokioResolver::builder_with_config(config_for(&listener)?, Default::default())`. The configuration has no search
/// list, because the listener resolves short names. hickory caches mesh answers for their TTL, 30 seconds.
///
/// # Errors
///
/// [`Config`](ErrorKind::Config): the listener has no address.
#[cfg(all(feature = "listener", unix))]
pub fn config_for(listener: &crate::listener::DnsListener) -> Result<ResolverConfig, Error> {
    let Some(address) = listener.addresses().first() else {
        return Err(Error::of_setup(ErrorCore::new(
            ErrorKind::Config,
            "the DNS listener has no address: add one with DnsListenerBuilder::bind",
        )));
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let mut server = NameServerConfig::udp_and_tcp(ip);
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    Ok(ResolverConfig::from_name_servers(vec![server]))
}

impl<P> fmt::Debug for MeshProvider<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshProvider")
            .field("mesh", &self.mesh)
            .field("upstream_source", &self.upstream_source)
            .finish_non_exhaustive()
    }
}

impl<P: ConnectionProvider> ConnectionProvider for MeshProvider<P> {
    type Conn = MeshHandle<P::RuntimeProvider>;
    type FutureConn = Ready<Result<Self::Conn, NetError>>;
    type RuntimeProvider = P::RuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let upstream = match self.upstream_source {
            UpstreamSource::Configured => {
                connected_on_demand(self.inner.new_connection(ip, config, context)?)
            }
            UpstreamSource::MeshResolver => mesh_upstream(self.mesh.clone()),
        };
        Ok(ready(Ok(MeshHandle { mesh: self.mesh.clone(), upstream, runtime: PhantomData })))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        self.inner.runtime_provider()
    }
}

/// A connection of hickory's resolver: the name table, and one upstream server.
pub struct MeshHandle<R> {
    mesh: MeshResolver,
    upstream: UpstreamFn,
    runtime: PhantomData<fn() -> R>,
}

impl<R> Clone for MeshHandle<R> {
    fn clone(&self) -> Self {
        Self { mesh: self.mesh.clone(), upstream: self.upstream.clone(), runtime: PhantomData }
    }
}

impl<R> fmt::Debug for MeshHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshHandle").field("mesh", &self.mesh).finish_non_exhaustive()
    }
}

impl<R: RuntimeProvider> DnsHandle for MeshHandle<R> {
    type Response = Pin<Box<dyn Stream<Item = Response> + Send>>;
    type Runtime = R;

    fn send(&self, request: DnsRequest) -> Self::Response {
        Box::pin(stream::once(answer(self.mesh.clone(), self.upstream.clone(), request, Asker::ThisProcess)))
    }
}

/// Wraps a connection to an upstream server, which is established by the first query.
fn connected_on_demand<C: DnsHandle>(
    connecting: impl Future<Output = Result<C, NetError>> + Send + 'static,
) -> UpstreamFn {
    let connecting = connecting.boxed().shared();
    Arc::new(move |request| {
        let connecting = connecting.clone();
        async move { connecting.await?.send(request).first_answer().await }.boxed()
    })
}

/// Wraps the upstream DNS servers of the mesh resolver in their current configuration.
pub(crate) fn mesh_upstream(mesh: MeshResolver) -> UpstreamFn {
    Arc::new(move |request| {
        let upstream = mesh.inner().upstream.state();
        async move {
            let client = upstream.client().map_err(|unusable| {
                NetError::Msg(format!("the host has no usable upstream DNS: {unusable}"))
            })?;
            match client.query_with_tcp_fallback(&request.to_vec()?).await {
                Ok(response) => Ok(DnsResponse::from_buffer(response.message)?),
                Err(NoAnswer::Disabled) => Ok(nxdomain(&request)?),
                Err(NoAnswer::Unreachable(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    Err(NetError::Timeout)
                }
                Err(error) => Err(NetError::Msg(error.to_string())),
            }
        }
        .boxed()
    })
}

/// Returns NXDOMAIN, the answer of a resolver without upstream DNS.
fn nxdomain(request: &DnsRequest) -> Result<DnsResponse, NetError> {
    let mut message = Message::error_msg(request.id, OpCode::Query, ResponseCode::NXDomain);
    message.add_queries(request.queries.iter().cloned());
    Ok(DnsResponse::from_message(message)?)
}
