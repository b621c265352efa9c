//! The names and addresses of the mesh, and upstream DNS.

mod by_address;

use std::{net::IpAddr, sync::OnceLock};

#[cfg(feature = "bridge")]
use mesh_resolver::LocalAddresses;
use mesh_resolver::{MeshResolver, SearchScope, Upstream};
use nds_client::{
    NdsClient,
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::Watch,
};

use self::by_address::ByAddress;
use crate::error::{Error, ErrorKind};

/// The current name table, and the names that this process has resolved.
pub(crate) trait MeshNames {
    /// Returns the canonical name of a host: fully qualified, in lower case, without a trailing dot. If a wildcard
    /// entry covers the host, this is the wildcard, such as `*.example.com`. `None` if the name table does not contain
    /// the host.
    fn canonical(&self, host: &str) -> Option<String>;

    /// Returns the full names of the Kubernetes services that have `host` as a short name, if they exist.
    fn service_names(&self, host: &str) -> Vec<String>;

    /// Returns the addresses of a host in the name table. Empty if the table does not contain the host.
    fn addresses(&self, host: &str) -> Vec<IpAddr>;

    /// Returns the name that this process most recently resolved to the address `ip`. `None` if there is none.
    fn last_resolved(&self, ip: IpAddr) -> Option<String>;

    /// Returns the names to which the name table assigns the address `ip`.
    fn at(&self, ip: IpAddr) -> Vec<String>;
}

/// Lookups in upstream DNS, without the name table.
pub(crate) trait UpstreamLookup {
    /// Returns the addresses of a host name, at least one.
    fn lookup(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, Error>> + Send;
}

impl MeshNames for Dns {
    fn canonical(&self, host: &str) -> Option<String> {
        self.resolver.canonical_name(host)
    }

    fn service_names(&self, host: &str) -> Vec<String> {
        self.resolver.search_scope().service_names(host).collect()
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

/// The resolver of a membership, and a resolver for upstream DNS only.
#[derive(Debug)]
pub(crate) struct Dns {
    pub(crate) resolver: MeshResolver,
    pub(crate) names: Watch<NameTable>,
    #[cfg(feature = "bridge")]
    client: NdsClient,
    by_address: ByAddress,
    upstream: Upstream,
    /// The resolver for upstream DNS only. It is created on first use, because few clusters have endpoints with host
    /// names.
    upstream_only: OnceLock<MeshResolver>,
}

impl Dns {
    pub(crate) fn new(client: &NdsClient, upstream: Upstream) -> Result<Self, Error> {
        let resolver = MeshResolver::builder_for(client).with_upstream(upstream.clone()).build();
        Ok(Self {
            resolver: resolver.map_err(cannot_set_up)?,
            names: client.names().clone(),
            #[cfg(feature = "bridge")]
            client: client.clone(),
            by_address: ByAddress::default(),
            upstream,
            upstream_only: OnceLock::new(),
        })
    }

    /// Returns a resolver that answers names of the mesh with the addresses from `addresses`.
    #[cfg(feature = "bridge")]
    pub(crate) fn resolver_with(
        &self,
        addresses: impl LocalAddresses + 'static,
    ) -> Result<MeshResolver, Error> {
        let builder = MeshResolver::builder_for(&self.client).with_upstream(self.upstream.clone());
        builder.with_local_addresses(addresses).build().map_err(cannot_set_up)
    }

    /// Returns the resolver for upstream DNS only, which has an empty name table.
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

/// Looks up a host without the name table, because the host of a `STRICT_DNS` cluster may also be a name of the mesh
/// with a virtual IP.
impl UpstreamLookup for Dns {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let resolver = self.upstream_only().map_err(|error| lookup_error(host, error))?;
        let found = resolver.lookup_ip(host).await.map_err(|error| lookup_error(host, error))?;
        Ok(found.addresses().to_vec())
    }
}

fn cannot_set_up(error: mesh_resolver::Error) -> Error {
    Error::with_source(ErrorKind::Resolve, "cannot set up the resolver of the mesh", error)
}

/// Converts the error of a failed lookup.
pub(crate) fn lookup_error(host: &str, error: mesh_resolver::Error) -> Error {
    use mesh_resolver::ErrorKind as Theirs;
    let (kind, message) = match error.kind() {
        Theirs::NameNotFound | Theirs::NoRecords => (
            ErrorKind::UnknownHost,
            format!("neither the mesh nor upstream DNS knows an address of `{host}`"),
        ),
        Theirs::InvalidName => (ErrorKind::InvalidTarget, format!("`{host}` is not a valid host name")),
        Theirs::NotReady => {
            (ErrorKind::ControlPlane, format!("cannot resolve `{host}`: istiod has sent no name table"))
        }
        Theirs::LocalResource => {
            (ErrorKind::LocalResource, format!("cannot look up `{host}` in upstream DNS: {}", error.report()))
        }
        _ => (
            ErrorKind::Resolve,
            format!("the mesh does not know `{host}`, and the lookup in upstream DNS failed"),
        ),
    };
    Error::with_source(kind, message, error)
}
