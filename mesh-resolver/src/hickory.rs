//! hickory's own resolver over the mesh (feature `hickory`).
//!
//! A program that is written against `hickory_resolver::Resolver` keeps it, and changes what it connects to:
//!
//! ```
//! use hickory_resolver::{Resolver, config::{ResolverConfig, NameServerConfig}};
//! use mesh_resolver::{MeshResolver, Scope, Upstream, hickory::MeshProvider};
//! # use nds_client::{health::Health, watch::WatchSender, resources::name_table::NameTable};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (names, health) = (WatchSender::new(NameTable::default()), WatchSender::new(Health::default()));
//! // In a program: MeshResolver::new(&NdsClient::join(config).await?)?
//! let mesh = MeshResolver::builder(names.subscribe(), health.subscribe(), Scope::new("vms", "svc.cluster.local"))
//!     .with_upstream(Upstream::none())
//!     .build()?;
//!
//! // With the upstream DNS of the mesh resolver:
//! let resolver: Resolver<MeshProvider> = MeshProvider::new(mesh.clone()).into_resolver()?;
//!
//! // Or with name servers and options of one's own:
//! let config = ResolverConfig::from_name_servers(vec![NameServerConfig::udp_and_tcp("192.0.2.53".parse()?)]);
//! let resolver = Resolver::builder_with_config(config, MeshProvider::over(mesh, Default::default())).build()?;
//! # let _: Resolver<MeshProvider> = resolver;
//! # Ok(())
//! # }
//! ```
//!
//! Questions for A and AAAA records of mesh names are answered from the table; everything else goes upstream, other
//! record types of mesh names too (`pkg/dns/client/dns.go`, `lookupHost`). A mesh name without the family asked for
//! gives an empty answer, not NXDOMAIN. hickory's search list works: a name with the first search domain behind it
//! is answered with a CNAME record and the addresses. What hickory does before it asks anybody stays: the `hosts`
//! file, names under `localhost`.
//!
//! Before the first table, names are treated as by [`MeshResolver::lookup_ip`], each question on its own: what does
//! not exist upstream waits for the table. hickory asks again where that fails, `attempts` times.
//!
//! # Caching
//!
//! hickory's cache sits before the mesh. Answers of the mesh therefore have a TTL of zero here (30 seconds
//! elsewhere), so that the cache never hides a change of the table. A name that upstream DNS denied stays denied for
//! as long as upstream said; a program that cannot wait for that when a service is created sets `cache_size` or
//! `negative_max_ttl` to zero, as [`into_resolver`](MeshProvider::into_resolver) does.

mod answer;
#[cfg(feature = "hickory-server")]
mod server;

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

use self::answer::{Ask, Response, answer};
#[cfg(feature = "hickory-server")]
pub use self::server::MeshHandler;
use crate::{
    error::{Error, ErrorKind},
    resolver::MeshResolver,
    upstream::NoAnswer,
};

/// What hickory's resolver connects to: the mesh's table, and behind it the servers that it would have connected to.
///
/// Connections upstream are made when the first name needs one: a server that is down does not hold mesh names up.
#[derive(Clone)]
pub struct MeshProvider<P = TokioRuntimeProvider> {
    mesh: MeshResolver,
    inner: P,
    behind: Behind,
}

/// Who answers what the mesh does not.
#[derive(Clone, Copy, Debug)]
enum Behind {
    /// The servers of hickory's configuration, through the inner provider.
    Configured,
    /// The upstream DNS of the mesh resolver.
    MeshResolver,
}

impl MeshProvider {
    /// A provider whose upstream is that of the mesh resolver. The name servers in hickory's configuration do not
    /// matter, except that there must be one.
    #[must_use]
    pub fn new(mesh: MeshResolver) -> Self {
        Self { mesh, inner: TokioRuntimeProvider::default(), behind: Behind::MeshResolver }
    }

    /// A resolver with the search list and upstream DNS of the mesh resolver, that caches no denial.
    ///
    /// # Errors
    ///
    /// [`Config`](ErrorKind::Config): hickory refuses the configuration.
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
            Error::new(ErrorKind::Config, "", "hickory's resolver cannot be set up").because_of(error)
        })
    }
}

impl<P> MeshProvider<P> {
    /// A provider whose upstream is what hickory's configuration says, connected to through `inner`.
    #[must_use]
    pub fn over(mesh: MeshResolver, inner: P) -> Self {
        Self { mesh, inner, behind: Behind::Configured }
    }
}

/// The configuration with which code that is typed on `TokioResolver` asks a listener of this process:
/// `TokioResolver::builder_with_config(config_for(&listener)?, Default::default())`. It has no search list; names are
/// answered as by the mesh resolver, and hickory's cache keeps them for as long as they say, 30 seconds.
///
/// # Errors
///
/// [`Config`](ErrorKind::Config): the listener has no address.
#[cfg(all(feature = "listener", unix))]
pub fn config_for(listener: &crate::listener::DnsListener) -> Result<ResolverConfig, Error> {
    let Some(address) = listener.addresses().first() else {
        return Err(Error::new(ErrorKind::Config, "", "a DNS listener without an address"));
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
            .field("behind", &self.behind)
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
        let upstream = match self.behind {
            Behind::Configured => connected_on_demand(self.inner.new_connection(ip, config, context)?),
            Behind::MeshResolver => sequential(self.mesh.clone()),
        };
        Ok(ready(Ok(MeshHandle { mesh: self.mesh.clone(), upstream, runtime: PhantomData })))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        self.inner.runtime_provider()
    }
}

/// The TTL of mesh names in front of which hickory's cache sits.
const UNCACHED: u32 = 0;

/// One of hickory's connections: the table, and a server behind it.
pub struct MeshHandle<R> {
    mesh: MeshResolver,
    upstream: Ask,
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
        Box::pin(stream::once(answer(self.mesh.clone(), self.upstream.clone(), request, UNCACHED)))
    }
}

/// The connection that hickory asked for, made when the first question needs it.
fn connected_on_demand<C: DnsHandle>(
    connecting: impl Future<Output = Result<C, NetError>> + Send + 'static,
) -> Ask {
    let connecting = connecting.boxed().shared();
    Arc::new(move |request| {
        let connecting = connecting.clone();
        async move { connecting.await?.send(request).first_answer().await }.boxed()
    })
}

/// The upstream servers of the mesh resolver, as they are when they are asked.
fn sequential(mesh: MeshResolver) -> Ask {
    Arc::new(move |request| {
        let upstream = mesh.inner().upstream.state();
        async move {
            let asker = upstream
                .asker()
                .map_err(|unusable| NetError::Msg(format!("the host has no upstream DNS: {unusable}")))?;
            match asker.ask_fully(&request.to_vec()?).await {
                Ok(response) => Ok(DnsResponse::from_buffer(response.message)?),
                Err(NoAnswer::Nobody) => Ok(unknown(&request)?),
                Err(NoAnswer::Unreachable(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    Err(NetError::Timeout)
                }
                Err(error) => Err(NetError::Msg(error.to_string())),
            }
        }
        .boxed()
    })
}

/// Without anybody upstream no name is known.
fn unknown(request: &DnsRequest) -> Result<DnsResponse, NetError> {
    let mut message = Message::error_msg(request.id, OpCode::Query, ResponseCode::NXDomain);
    message.add_queries(request.queries.iter().cloned());
    Ok(DnsResponse::from_message(message)?)
}
