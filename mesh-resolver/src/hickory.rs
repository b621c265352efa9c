//! hickory's own resolver over the mesh (feature `hickory`).
//!
//! A program that is written against `hickory_resolver::Resolver` keeps it, and changes what it connects to:
//!
//! ```
//! use hickory_resolver::{Resolver, config::{ResolverConfig, NameServerConfig}};
//! use mesh_resolver::{MeshResolver, Scope, Upstream, hickory::MeshProvider};
//! # use nds_client::{Health, NameTable, Publisher};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (names, health) = (Publisher::new(NameTable::default()), Publisher::new(Health::default()));
//! // In a program: MeshResolver::new(&NdsClient::join(config).await?)?
//! let mesh = MeshResolver::builder(names.watched(), health.watched(), Scope::new("vms", "svc.cluster.local"))
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

use std::{
    fmt,
    future::{Ready, ready},
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, Stream, future::BoxFuture, stream};
use hickory_resolver::{
    ConnectionProvider, PoolContext, Resolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{
        NetError,
        runtime::{RuntimeProvider, TokioRuntimeProvider},
        xfer::{DnsHandle, FirstAnswer as _},
    },
    proto::{
        op::{DnsRequest, DnsResponse, Message, OpCode, Query, ResponseCode},
        rr::{DNSClass, Name, RData, Record, RecordType, rdata::CNAME},
    },
};

use crate::{
    Error, ErrorKind, MeshResolver,
    answer::shuffle,
    fallback::Missing,
    lookup::Answer,
    upstream::{NameServers, Unusable},
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
        let upstream = &self.mesh.inner().upstream;
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
            Behind::MeshResolver => sequential(self.mesh.inner().upstream.servers()),
        };
        Ok(ready(Ok(MeshHandle { mesh: self.mesh.clone(), upstream, runtime: PhantomData })))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        self.inner.runtime_provider()
    }
}

/// One of hickory's connections: the table, and a server behind it.
pub struct MeshHandle<R> {
    mesh: MeshResolver,
    upstream: Ask,
    runtime: PhantomData<fn() -> R>,
}

type Response = Result<DnsResponse, NetError>;
type Ask = Arc<dyn Fn(DnsRequest) -> BoxFuture<'static, Response> + Send + Sync>;

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
        Box::pin(stream::once(answer(self.mesh.clone(), self.upstream.clone(), request)))
    }
}

/// The table first, upstream second, in the order of [`MeshResolver::lookup_ip`].
async fn answer(mesh: MeshResolver, upstream: Ask, request: DnsRequest) -> Response {
    let Some(query) = request.queries.first().filter(|query| is_for_addresses(query)).cloned() else {
        return upstream(request).await;
    };
    let id = request.id;
    let host = query.name().to_ascii();
    let ready = mesh.is_ready();
    let look = || mesh_response(&mesh, &host, &query, id);
    if let Some(response) = look() {
        return response;
    }
    let asked = upstream(request);
    if ready {
        return asked.await;
    }
    // A name that does not exist upstream may be the mesh's. One that exists without this family is upstream's.
    let asked = asked.map(|response| match response {
        Ok(response) if response.response_code != ResponseCode::NXDomain => Ok(Ok(response)),
        Err(error) if error.is_no_records_found() && !error.is_nx_domain() => Ok(Err(error)),
        unknown => Err(Box::new(unknown)),
    });
    match mesh.before_first_table(&host, look, asked).await {
        Ok(response) => response,
        Err(Missing::Upstream(response)) => *response,
        Err(Missing::NotReady(error)) => Err(NetError::Msg(error.report())),
    }
}

fn is_for_addresses(query: &Query) -> bool {
    query.query_class() == DNSClass::IN && matches!(query.query_type(), RecordType::A | RecordType::AAAA)
}

/// What Istio's proxy answers to a question for a mesh name; `None` where the mesh does not know the name.
fn mesh_response(mesh: &MeshResolver, host: &str, query: &Query, id: u16) -> Option<Response> {
    let names = mesh.names();
    let answer = names.lookup(host)?;
    let addresses = addresses(&answer, query.query_type());
    mesh.inner().recent.record(answer.name(), &addresses);
    let mut message = Message::response(id, OpCode::Query);
    message.metadata.authoritative = true;
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_query(query.clone());
    // A known name without the family asked for: no data, and no CNAME record either.
    if !addresses.is_empty() {
        match records(&answer, host, query.name(), &addresses) {
            Ok(records) => message.add_answers(records),
            Err(error) => return Some(Err(error)),
        };
    }
    Some(DnsResponse::from_message(message).map_err(NetError::from))
}

fn addresses(answer: &Answer<'_>, family: RecordType) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = match family {
        RecordType::A => answer.ipv4().iter().copied().map(IpAddr::V4).collect(),
        _ => answer.ipv6().iter().copied().map(IpAddr::V6).collect(),
    };
    shuffle(&mut addresses);
    addresses
}

fn records(
    answer: &Answer<'_>,
    host: &str,
    asked: &Name,
    addresses: &[IpAddr],
) -> Result<Vec<Record>, NetError> {
    const TTL: u32 = 0;
    let asked = asked.to_lowercase();
    let bare = host.strip_suffix('.').unwrap_or(host);
    let (alias, owner) = match answer.alias(bare) {
        Some(target) => {
            let target = Name::from_ascii(target + ".")?;
            let alias = Record::from_rdata(asked, TTL, RData::CNAME(CNAME(target.clone())));
            (Some(alias), target)
        }
        None => (None, asked),
    };
    let found = addresses.iter().map(|ip| Record::from_rdata(owner.clone(), TTL, RData::from(*ip)));
    Ok(alias.into_iter().chain(found).collect())
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

fn sequential(servers: Result<&NameServers, &Unusable>) -> Ask {
    let servers = servers.cloned().map_err(Clone::clone);
    Arc::new(move |request| {
        let servers = servers.clone();
        async move {
            match servers {
                Ok(servers) => servers.ask(request).await,
                Err(unusable) => Err(NetError::Msg(format!("the host has no upstream DNS: {unusable}"))),
            }
        }
        .boxed()
    })
}
