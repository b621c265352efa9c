//! The builder that starts a sandbox.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{MeshFolder, Sandbox, reload};
use crate::address_book::AddressBook;
use crate::data_plane::DataPlane;
use crate::dns::Upstream;
use crate::error::Result;
use crate::events::Events;
use crate::example;
use crate::istiod::{AgeLimit, Istiod, Pushes, Shared, TtlPolicy};
use crate::listen;
use crate::pki::{Authority, TokenIssuer};
use crate::state::State;
use crate::tasks::TaskGroup;
use crate::workload::Identities;
use crate::yaml::Folder;

/// A builder for a [`Sandbox`].
///
/// # Defaults
///
/// * mesh folder: the example mesh, in a temporary folder ([`Sandbox::mesh_dir`])
/// * trust domain: the one in `mesh.yaml`, or `cluster.local` if `mesh.yaml` sets none
/// * certificate lifetimes: 24 hours by default, 90 days at most
/// * metadata exchange: on, as in a default istiod
/// * age of connections to istiod: unlimited (Istio's Helm chart: 30 minutes)
/// * reload of the mesh folder: on
#[derive(Clone, Debug)]
pub struct SandboxBuilder {
    mesh_dir: Option<PathBuf>,
    trust_domain: Option<String>,
    ttl: TtlPolicy,
    metadata_exchange: MetadataExchange,
    age: Option<AgeLimit>,
    reload: Reload,
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetadataExchange {
    Off,
    On,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reload {
    Off,
    On,
}

/// The DNS names in the certificate of istiod, which contains no IP addresses (istio `pilot/pkg/bootstrap/server.go`).
const ISTIOD_NAMES: [&str; 3] =
    ["istiod.istio-system.svc", "istiod-remote.istio-system.svc", "istio-pilot.istio-system.svc"];

impl SandboxBuilder {
    pub(super) fn new() -> Self {
        Self {
            mesh_dir: None,
            trust_domain: None,
            ttl: TtlPolicy {
                default: Duration::from_secs(24 * 3600),
                max: Duration::from_secs(90 * 24 * 3600),
            },
            metadata_exchange: MetadataExchange::On,
            age: None,
            reload: Reload::On,
            names: ISTIOD_NAMES.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// Sets the mesh folder, which contains one folder of YAML per cluster.
    #[must_use]
    pub fn with_mesh_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.mesh_dir = Some(folder.into());
        self
    }

    /// Sets the trust domain of all identities.
    #[must_use]
    pub fn with_trust_domain(mut self, trust_domain: impl Into<String>) -> Self {
        self.trust_domain = Some(trust_domain.into());
        self
    }

    /// Sets the lifetime of certificates if a request contains none, and the maximum (istiod's
    /// `DEFAULT_WORKLOAD_CERT_TTL` and `MAX_WORKLOAD_CERT_TTL`).
    #[must_use]
    pub fn with_certificate_lifetimes(mut self, default: Duration, max: Duration) -> Self {
        self.ttl = TtlPolicy { default, max };
        self
    }

    /// Disables the metadata exchange filter of istiod, so that CDS does not contain `istio-peer-exchange`
    /// (`PILOT_ENABLE_METADATA_EXCHANGE=false`).
    #[must_use]
    pub fn without_metadata_exchange(mut self) -> Self {
        self.metadata_exchange = MetadataExchange::Off;
        self
    }

    /// Sets the age at which istiod sends a GOAWAY on each connection, and the grace period after which it closes the
    /// connection. Istio's Helm chart sets 30 minutes and ten seconds.
    #[must_use]
    pub fn with_max_connection_age(mut self, age: Duration, grace: Duration) -> Self {
        self.age = Some(AgeLimit { age, grace });
        self
    }

    /// Disables the reload: later changes of the mesh folder have no effect.
    #[must_use]
    pub fn without_reload(mut self) -> Self {
        self.reload = Reload::Off;
        self
    }

    /// Adds a DNS name to the certificate of istiod (`ISTIOD_CUSTOM_HOST`).
    #[must_use]
    pub fn with_istiod_name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Reads the YAML and starts the sandbox on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The YAML cannot be read or is invalid (with file and line), or a socket cannot be bound.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn start(self) -> Result<Sandbox> {
        let runtime = Handle::current();
        let folder = self.mesh_dir.map_or_else(
            || example::write().map(MeshFolder::Example),
            |given| Ok(MeshFolder::Given(given)),
        )?;
        let stamp = Folder::stamp(folder.path());
        let content = Folder::read(folder.path())?;
        let config = content.config.settled(self.trust_domain);
        let domains = config.trust_domains();
        let mut state = State::new(config, content);
        let mesh = state.build()?;
        let events = Events::new();
        let book = AddressBook::default();
        let authority = Arc::new(Authority::new(domains)?);
        let identities = Arc::new(Identities::new(authority.clone())?);
        let plane = Arc::new(DataPlane::new(&runtime, book.clone(), events.clone(), identities));
        plane.reconcile(&mesh)?;
        let upstream = Upstream::start(&runtime, mesh.upstream.clone()).await?;
        let exchange = self.metadata_exchange == MetadataExchange::On;
        let pushes = Arc::new(Pushes::new(mesh, book.clone(), exchange));
        let shared = Arc::new(Shared {
            authority,
            tokens: TokenIssuer::default(),
            events: events.clone(),
            snapshots: pushes.subscribe(),
            connections: Mutex::default(),
            ttl: self.ttl,
            age: self.age,
            delay: Mutex::default(),
            names: self.names,
        });
        let istiod = Istiod::start(&runtime, shared, listen::ANY)?;
        let tasks = TaskGroup::new(&runtime);
        tasks.spawn(pushes.clone().run());
        let state = Arc::new(Mutex::new(state));
        let upstream = Arc::new(upstream);
        let sandbox = Sandbox { state, pushes, plane, istiod, upstream, events, book, tasks, folder };
        if self.reload == Reload::On {
            let folder = sandbox.mesh_dir().to_owned();
            sandbox.tasks.spawn(reload::watch(sandbox.changes(), folder, stamp));
        }
        Ok(sandbox)
    }
}
