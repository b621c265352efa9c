//! `Mesh`, the handle of a process in the mesh.
//!
//! Adapters add their own `impl Mesh` blocks. This module does not depend on them.

mod next_hop;

pub use self::next_hop::NextHop;

use std::{fmt, sync::Arc, time::Duration};

use fastrand::Rng;
use mesh_resolver::MeshResolver;
use nds_client::NdsClient;
use tracing::Instrument as _;

use crate::{
    cluster::Route,
    error::{Error, ErrorKind},
    health::MeshHealth,
    membership::Membership,
    settings::{Mtls, Settings},
    stream::MeshStream,
    target::Target,
};

/// A handle to a mesh that this process has joined: it connects to services and resolves names. Cheap to clone.
///
/// All clones share one membership: one identity, one stream to istiod, one resolver. Dropping the last clone ends the
/// membership. Open connections stay open.
#[derive(Clone)]
pub struct Mesh {
    membership: Arc<Membership>,
    settings: Settings,
}

impl Mesh {
    pub(crate) fn new(membership: Membership, settings: Settings) -> Self {
        Self { membership: Arc::new(membership), settings }
    }

    /// Waits for the identity and the first name table, at most for the join timeout of the configuration. Use it after
    /// [`MeshBuilder::spawn`](crate::MeshBuilder::spawn).
    ///
    /// # Errors
    ///
    /// The errors of [`join`](Self::join). After such an error, joining continues in the background.
    /// [`ErrorKind::Closed`] after [`shutdown`](Self::shutdown).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> Result<(), Error> {
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the mesh was shut down; join it again"));
        }
        self.membership
            .client
            .ready()
            .await
            .map_err(|error| Error::control_plane("cannot join the mesh", error))
    }

    /// Returns a handle of the same membership that refuses connections without mesh mTLS.
    #[must_use]
    pub fn requiring_mtls(&self) -> Self {
        self.with_settings(Settings { mtls: Mtls::Required, ..self.settings })
    }

    /// Returns a handle of the same membership with another connect deadline: the time limit per connection, from
    /// routing to the end of the handshake.
    #[must_use]
    pub fn with_connect_deadline(&self, deadline: Duration) -> Self {
        self.with_settings(Settings { connect_deadline: deadline, ..self.settings })
    }

    fn with_settings(&self, settings: Settings) -> Self {
        Self { membership: self.membership.clone(), settings }
    }

    /// Connects to a port of a service. `host` is a full or short name, or an IP address.
    ///
    /// # Errors
    ///
    /// All kinds of [`ErrorKind`] except [`Exchange`](ErrorKind::Exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect(&self, host: &str, port: u16) -> Result<MeshStream, Error> {
        self.connect_to(&Target::new(host, port)?).await
    }

    /// Connects to a target: a service, a subset and a protocol.
    ///
    /// # Errors
    ///
    /// All kinds of [`ErrorKind`] except [`Exchange`](ErrorKind::Exchange).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt and leaves nothing behind.
    pub async fn connect_to(&self, target: &Target) -> Result<MeshStream, Error> {
        let span = tracing::debug_span!("connect", %target);
        self.membership.connect(target, &self.settings).instrument(span).await
    }

    /// Returns the endpoint that [`connect_to`](Self::connect_to) would try first, from the data that istiod has sent
    /// so far. This is for programs that dial themselves, and for diagnosis. Each call makes a new choice. `None` if
    /// the clusters or endpoints are not loaded, the target is outside the mesh, or no endpoint can be used.
    ///
    /// The call is wait-free, and does not allocate for a target that was used before.
    #[must_use]
    pub fn next_hop(&self, target: &Target) -> Option<NextHop> {
        let Membership { clusters, dns, .. } = &*self.membership;
        let Route::Cluster(entry) = clusters.route(target, dns)?.ok()? else { return None };
        NextHop::choose(entry.hosts(target, dns)?, &mut Rng::new())
    }

    /// Returns the resolver of the mesh. It answers names in the name table with their addresses there (ClusterIPs and
    /// virtual IPs), and other names from upstream DNS.
    ///
    /// These addresses are for lookups and diagnosis, not for connections. A program that dials such an address itself
    /// bypasses the mesh: it sends plaintext to any host that has the address. For programs that resolve and dial by
    /// themselves, use `Bridge::resolver` (feature `bridge`): connections to the addresses that it returns go through
    /// the mesh.
    #[must_use]
    pub fn raw_resolver(&self) -> &MeshResolver {
        &self.membership.dns.resolver
    }

    /// Returns the client of istiod, which provides the names, clusters, endpoints and identity of the membership.
    #[must_use]
    pub fn client(&self) -> &NdsClient {
        &self.membership.client
    }

    /// Returns the health of the membership: the connection to istiod, and each endpoint in use.
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

    /// Shuts down the membership, for all clones of this handle: ends the connection to istiod, and waits until the
    /// tasks of the membership have ended and the state directory is written. The wait takes at most five seconds; a
    /// shutdown that has not finished by then is logged.
    ///
    /// Open connections stay open. New connections fail with [`ErrorKind::Closed`]. Lookups continue to answer from the
    /// current name table. Further calls of `shutdown` have no effect.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not undo the shutdown: the tasks still end.
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
