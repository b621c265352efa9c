//! The facade: a process in the mesh.
//!
//! Adapters add their own `impl Mesh` blocks; this module names none of them.

mod health;
mod next_hop;

pub use self::{health::MeshHealth, next_hop::NextHop};

use std::{fmt, sync::Arc, time::Duration};

use fastrand::Rng;
use mesh_resolver::MeshResolver;
use nds_client::NdsClient;
use tracing::Instrument as _;

use crate::{
    cluster::Route,
    error::{Error, ErrorKind},
    membership::Membership,
    settings::{Mtls, Settings},
    stream::MeshStream,
    target::Target,
};

/// A process in an Istio mesh: names, connections, identity. Cheap to clone.
///
/// All clones share one membership: one identity, one stream to istiod, one resolver. Dropping the last one ends it;
/// connections that are open stay open.
#[derive(Clone)]
pub struct Mesh {
    membership: Arc<Membership>,
    settings: Settings,
}

impl Mesh {
    pub(crate) fn new(membership: Membership, settings: Settings) -> Self {
        Self { membership: Arc::new(membership), settings }
    }

    /// Waits for the identity and the first name table, for the configuration's join timeout at most: after
    /// [`MeshBuilder::spawn`](crate::MeshBuilder::spawn).
    ///
    /// # Errors
    ///
    /// Those of [`join`](Self::join), when joining goes on all the same; [`ErrorKind::Closed`] after
    /// [`shutdown`](Self::shutdown).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "this process has left the mesh; join it again"));
        }
        self.membership
            .client
            .ready()
            .await
            .map_err(|error| Error::control_plane("cannot join the mesh", error))
    }

    /// The same membership through a handle that connects with mTLS or not at all.
    #[must_use]
    pub fn requiring_mtls(&self) -> Self {
        self.with_settings(Settings { mtls: Mtls::Required, ..self.settings })
    }

    /// The same membership through a handle whose connections have `deadline` to come about, from route to handshake.
    #[must_use]
    pub fn with_connect_deadline(&self, deadline: Duration) -> Self {
        self.with_settings(Settings { connect_deadline: deadline, ..self.settings })
    }

    fn with_settings(&self, settings: Settings) -> Self {
        Self { membership: self.membership.clone(), settings }
    }

    /// Connects to a port of a service: by its name, short names included, or by its address.
    ///
    /// # Errors
    ///
    /// All kinds of [`ErrorKind`] but [`Exchange`](ErrorKind::Exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(&self, host: &str, port: u16) -> Result<MeshStream, Error> {
        self.connect_to(&Target::new(host, port)?).await
    }

    /// Connects to a target: a service with a subset, for a protocol.
    ///
    /// # Errors
    ///
    /// All kinds of [`ErrorKind`] but [`Exchange`](ErrorKind::Exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect_to(&self, target: &Target) -> Result<MeshStream, Error> {
        let span = tracing::debug_span!("connect", %target);
        self.membership.connect(target, &self.settings).instrument(span).await
    }

    /// Where the next connection to a target would go, by what istiod has sent so far: the choice that
    /// [`connect_to`](Self::connect_to) begins with, for programs that dial themselves and for those who want to see
    /// it. Each call chooses anew. `None` for what is not known (yet), is outside of the mesh, or has no endpoint that
    /// may be dialled.
    ///
    /// Wait-free, and without allocation for a target that was asked for before.
    #[must_use]
    pub fn next_hop(&self, target: &Target) -> Option<NextHop> {
        let Membership { clusters, dns, .. } = &*self.membership;
        let Route::Cluster(entry) = clusters.route(target, dns)?.ok()? else { return None };
        NextHop::of(entry.hosts(target, dns)?, &mut Rng::new())
    }

    /// The resolver: names to addresses, the mesh's first, upstream DNS second.
    #[must_use]
    pub fn resolver(&self) -> &MeshResolver {
        &self.membership.dns.resolver
    }

    /// The connection to istiod: names, clusters, endpoints and identity as values.
    #[must_use]
    pub fn client(&self) -> &NdsClient {
        &self.membership.client
    }

    /// How the membership is doing: the connection to istiod, and each endpoint in use.
    #[must_use]
    pub fn health(&self) -> MeshHealth<'_> {
        MeshHealth { membership: self.membership.client.health(), clusters: &self.membership.clusters }
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.membership
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.membership.is_closed()
    }

    /// Leaves the mesh, for all clones: ends the connection to istiod and the tasks behind it. Connections that are
    /// open stay open; new ones are refused with [`ErrorKind::Closed`]. Names are still answered, by what is known.
    pub async fn shutdown(&self) {
        self.membership.close().await;
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("clusters", &self.membership.clusters)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
