//! Starting a sandbox.

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
use crate::event::Events;
use crate::example;
use crate::istiod::{AgeLimit, Istiod, Pushes, Shared, TtlPolicy};
use crate::listen;
use crate::pki::{Authority, TokenIssuer};
use crate::state::State;
use crate::tasks::TaskGroup;
use crate::workload::Identities;
use crate::yaml::Folder;

/// How a sandbox is to be.
///
/// # Defaults
///
/// * mesh folder: the example mesh, in a temporary folder ([`Sandbox::mesh_dir`])
/// * trust domain: that of `mesh.yaml`, else `cluster.local`
/// * certificates: 24 hours unless asked otherwise, 90 days at most
/// * metadata exchange: on, as in a default istiod
/// * age of connections to istiod: unlimited (Helm's chart says 30 minutes)
/// * reload of the folder: on
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

/// The names in istiod's certificate (facts B.8). No addresses.
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

    /// The folder with a folder of YAML per cluster.
    #[must_use]
    pub fn mesh_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.mesh_dir = Some(folder.into());
        self
    }

    /// The trust domain of all identities.
    #[must_use]
    pub fn trust_domain(mut self, trust_domain: impl Into<String>) -> Self {
        self.trust_domain = Some(trust_domain.into());
        self
    }

    /// How long certificates live when nothing is asked for, and how long at most (istiod's
    /// `DEFAULT_WORKLOAD_CERT_TTL` and `MAX_WORKLOAD_CERT_TTL`).
    #[must_use]
    pub fn certificate_lifetimes(mut self, default: Duration, max: Duration) -> Self {
        self.ttl = TtlPolicy { default, max };
        self
    }

    /// istiod without its metadata exchange filter, so without `istio-peer-exchange` in CDS
    /// (`PILOT_ENABLE_METADATA_EXCHANGE=false`).
    #[must_use]
    pub fn without_metadata_exchange(mut self) -> Self {
        self.metadata_exchange = MetadataExchange::Off;
        self
    }

    /// istiod tells each connection to go at this age (a GOAWAY) and ends it after the grace. Helm's chart has it 30
    /// minutes and ten seconds.
    #[must_use]
    pub fn max_connection_age(mut self, age: Duration, grace: Duration) -> Self {
        self.age = Some(AgeLimit { age, grace });
        self
    }

    /// The folder is read once; later changes to it change nothing.
    #[must_use]
    pub fn without_reload(mut self) -> Self {
        self.reload = Reload::Off;
        self
    }

    /// One more name in istiod's certificate (`ISTIOD_CUSTOM_HOST`).
    #[must_use]
    pub fn istiod_name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Reads the YAML and starts everything, on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// The YAML cannot be read or used (with file and line), or a socket cannot be bound.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
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
