//! Names and addresses as the resolver of this membership sees them.

mod by_address;

use std::{net::IpAddr, sync::OnceLock};

use mesh_resolver::{MeshResolver, SearchScope, Upstream};
use nds_client::{
    NdsClient,
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::Watch,
};

use self::by_address::ByAddress;
use crate::error::{Error, ErrorKind};

/// What names mean in the mesh, at one moment.
pub(crate) trait MeshNames {
    /// The mesh's own name for a host that a caller wrote: fully qualified, lower-case, no trailing dot; `*.x` where
    /// a wildcard covers it. `None` for a name that is not in the mesh's table.
    fn canonical(&self, host: &str) -> Option<String>;

    /// The addresses that the mesh's table has for a host; empty for one that is not in it.
    fn addresses(&self, host: &str) -> Vec<IpAddr>;

    /// The name that this process last resolved to an address.
    fn last_resolved(&self, ip: IpAddr) -> Option<String>;

    /// Every name in the mesh's table that has an address.
    fn at(&self, ip: IpAddr) -> Vec<String>;
}

/// Upstream DNS, without the mesh's names.
pub(crate) trait UpstreamLookup {
    /// The addresses of a host name; at least one.
    fn lookup(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, Error>> + Send;
}

impl MeshNames for Dns {
    fn canonical(&self, host: &str) -> Option<String> {
        self.resolver.canonical_name(host)
    }

    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        self.resolver.try_lookup(host).map(|addresses| addresses.as_slice().to_vec()).unwrap_or_default()
    }

    fn last_resolved(&self, ip: IpAddr) -> Option<String> {
        self.resolver.last_resolved(ip)
    }

    fn at(&self, ip: IpAddr) -> Vec<String> {
        self.by_address.names(ip, &self.names.get())
    }
}

/// The resolver of a membership, and upstream DNS without the mesh's names.
#[derive(Debug)]
pub(crate) struct Dns {
    pub(crate) resolver: MeshResolver,
    pub(crate) names: Watch<NameTable>,
    by_address: ByAddress,
    upstream: Upstream,
    /// Made at its first use: clusters with host names as endpoints are few.
    upstream_only: OnceLock<MeshResolver>,
}

impl Dns {
    pub(crate) fn new(client: &NdsClient, upstream: Upstream) -> Result<Self, Error> {
        let resolver = MeshResolver::builder_for(client).with_upstream(upstream.clone()).build();
        let resolver = resolver.map_err(|error| {
            Error::with_source(ErrorKind::Resolve, "the resolver of the membership cannot be set up", error)
        })?;
        let names = client.names().clone();
        Ok(Self {
            resolver,
            names,
            by_address: ByAddress::default(),
            upstream,
            upstream_only: OnceLock::new(),
        })
    }

    /// A resolver over a table without names.
    fn upstream_only(&self) -> Result<&MeshResolver, mesh_resolver::Error> {
        if let Some(resolver) = self.upstream_only.get() {
            return Ok(resolver);
        }
        let mut health = Health::default();
        health.sync = SyncState::Synced;
        let (names, health) = (Watch::constant(NameTable::default()), Watch::constant(health));
        let builder = MeshResolver::builder(names, health, SearchScope::default());
        let resolver = builder.with_upstream(self.upstream.clone()).build()?;
        Ok(self.upstream_only.get_or_init(|| resolver))
    }
}

/// What the mesh's table says does not count: the host of a `STRICT_DNS` cluster may be a name of the mesh whose
/// address there is a virtual one.
impl UpstreamLookup for Dns {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let resolver = self.upstream_only().map_err(|error| unresolved(host, error))?;
        let found = resolver.lookup_ip(host).await.map_err(|error| unresolved(host, error))?;
        Ok(found.addresses().to_vec())
    }
}

/// What it means that a name has no address.
pub(crate) fn unresolved(host: &str, error: mesh_resolver::Error) -> Error {
    use mesh_resolver::ErrorKind as Theirs;
    let (kind, message) = match error.kind() {
        Theirs::NameNotFound | Theirs::NoRecords => (
            ErrorKind::UnknownHost,
            format!("neither the mesh nor upstream DNS knows an address of `{host}`"),
        ),
        Theirs::InvalidName => (ErrorKind::InvalidTarget, format!("`{host}` is no host name")),
        Theirs::NotReady => {
            (ErrorKind::ControlPlane, format!("istiod has not sent the names that `{host}` may be among"))
        }
        _ => (ErrorKind::Resolve, format!("the mesh does not know `{host}`, and upstream DNS fails")),
    };
    Error::with_source(kind, message, error)
}
