//! A mesh that consists of a name table and a health state.

use mesh_resolver::{MeshResolver, MeshResolverBuilder, SearchScope, Upstream};
use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};
use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

/// The senders of the values that a resolver reads.
pub(crate) struct Mesh {
    pub(crate) names: WatchSender<NameTable>,
    pub(crate) health: WatchSender<Health>,
}

/// The full name of the service that most tests look up.
pub(crate) const FORECAST: &str = "forecast.weather.svc.cluster.local";

impl Mesh {
    /// Creates a mesh whose istiod has not sent anything yet.
    pub(crate) fn connecting() -> Self {
        Self { names: WatchSender::new(NameTable::default()), health: WatchSender::new(Health::default()) }
    }

    /// Creates a mesh whose istiod has sent these names: key and addresses. The suffix of a key marks Kubernetes
    /// services.
    pub(crate) fn synced(names: &[(&str, &[&str])]) -> Self {
        let mesh = Self::connecting();
        mesh.sync(names);
        mesh
    }

    /// Sends a new name table.
    pub(crate) fn sync(&self, names: &[(&str, &[&str])]) {
        self.names.send(table(names));
        self.health(|health| health.sync = SyncState::Synced);
    }

    /// Sends a new name table as the client does: as the successor of the current one.
    pub(crate) fn sync_after(&self, names: &[(&str, &[&str])]) {
        let next = table(names).after(&self.names.load()).unwrap();
        self.names.send(next);
        self.health(|health| health.sync = SyncState::Synced);
    }

    pub(crate) fn health(&self, change: impl FnOnce(&mut Health)) {
        let mut health = (*self.health.subscribe().get()).clone();
        change(&mut health);
        self.health.send(health);
    }

    /// Returns a builder for a resolver in the namespace `vms` without upstream DNS.
    pub(crate) fn builder(&self) -> MeshResolverBuilder {
        let scope = SearchScope::new("vms", "vms.svc.cluster.local");
        MeshResolver::builder(self.names.subscribe(), self.health.subscribe(), scope)
            .with_upstream(Upstream::none())
    }

    /// Builds a resolver in the namespace `vms`.
    pub(crate) fn resolver(&self, upstream: Upstream) -> MeshResolver {
        self.builder().with_upstream(upstream).build().unwrap()
    }
}

fn table(names: &[(&str, &[&str])]) -> NameTable {
    let info = |(name, ips): &(&str, &[&str])| {
        let service = name.strip_suffix(".svc.cluster.local").and_then(|name| name.rsplit_once('.'));
        let (shortname, namespace) = service.unwrap_or_default();
        let info = NameInfo {
            ips: ips.iter().map(ToString::to_string).collect(),
            registry: if service.is_some() { "Kubernetes" } else { "External" }.into(),
            shortname: shortname.into(),
            namespace: namespace.into(),
            ..NameInfo::default()
        };
        ((*name).to_owned(), info)
    };
    let wire = Wire { table: names.iter().map(info).collect() };
    NameTable::decode(&wire.encode_to_vec()).unwrap()
}
