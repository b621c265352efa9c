//! TLS to endpoints: the configurations of one cluster for one identity.

pub(crate) mod alpn;
mod config;
mod files;
mod names;
mod sessions;
mod verifier;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use nds_client::{
    Identity,
    resources::cluster::{Cluster, TlsContext},
};
use parking_lot::Mutex;
use rustls::{ClientConfig, KeyLog, RootCertStore, pki_types::ServerName, time_provider::TimeProvider};

use self::{files::FileCredentials, sessions::Sessions};
pub(crate) use self::{
    names::{names, uri_names},
    sessions::ConnectionSessions,
};
use crate::{
    connection::Transport,
    error::Error,
    target::{Host, Protocol},
};

/// The client configuration of a TLS connection, ready for a handshake.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// The ID of the configuration, unique in the cluster.
    pub(crate) id: u64,
    config: Arc<ClientConfig>,
    sessions: Arc<Sessions>,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) sni: Arc<str>,
    pub(crate) alpn: Arc<[String]>,
    /// The accepted identities of the peer, as text.
    pub(crate) expected: Arc<[String]>,
    /// The SPIFFE ID that the peer must have, if the cluster specifies exactly one. `None` in all other cases.
    pub(crate) only_name: Option<String>,
    pub(crate) transport: Transport,
}

impl ClientTls {
    /// Returns the configuration of one connection, and the sessions that the connection uses. Call
    /// [`ConnectionSessions::complete`] after the handshake.
    pub(crate) fn for_connection(&self) -> (Arc<ConnectionSessions>, Arc<ClientConfig>) {
        let (sessions, config) = ConnectionSessions::configure(&self.sessions, &self.config);
        (sessions, Arc::new(config))
    }
}

/// Settings that the configurations of all clusters share.
#[derive(Default)]
pub(crate) struct TlsSettings {
    pub(crate) key_log: Option<Arc<dyn KeyLog>>,
    /// The clock that decides when certificates and TLS sessions expire. `None` selects the system clock.
    pub(crate) time: Option<Arc<dyn TimeProvider>>,
    /// The roots of the operating system, loaded on first use.
    system_roots: OnceLock<Arc<RootCertStore>>,
}

impl TlsSettings {
    pub(crate) fn new(key_log: Option<Arc<dyn KeyLog>>) -> Self {
        Self { key_log, ..Self::default() }
    }
}

/// The TLS configurations of one cluster for one identity. Each configuration is created on first use.
///
/// rustls resumes sessions without calling the verifier, so a configuration is immutable: identity, roots, expected
/// names and protocols are fixed when it is created, and it has its own verifier, certificate resolver and session
/// store. A new identity or a changed cluster gets a new `TlsConfigs`. If certificate files change, the same
/// `TlsConfigs` creates a new configuration.
pub(crate) struct TlsConfigs {
    settings: Arc<TlsSettings>,
    /// Configurations for mesh mTLS, by transport socket of the cluster and by protocol.
    mutual: Box<[[OnceLock<Arc<ClientTls>>; Protocol::COUNT]]>,
    /// Configurations with certificates in files, by transport socket, protocol and requested host.
    originated: Mutex<Vec<Originated>>,
    next_id: AtomicU64,
}

/// The inputs from which a TLS configuration is created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsRequest<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) identity: &'a Identity,
    /// The index of the transport socket of the context ([`Cluster::transport_socket_index`]).
    pub(crate) socket: usize,
    pub(crate) context: &'a TlsContext,
    pub(crate) protocol: Protocol,
}

struct Originated {
    socket: usize,
    protocol: Protocol,
    host: Host,
    material: FileCredentials,
    tls: Arc<ClientTls>,
}

/// The maximum number of cached configurations with certificates in files. There can be one for each host that a
/// wildcard covers.
const MAX_HOSTS: usize = 64;

impl TlsConfigs {
    pub(crate) fn new(cluster: &Cluster, settings: Arc<TlsSettings>) -> Self {
        let sockets = cluster.transport_socket_matches.len() + 1;
        Self {
            settings,
            mutual: (0..sockets).map(|_| Default::default()).collect(),
            originated: Mutex::default(),
            // 0 is the key of connections without TLS.
            next_id: AtomicU64::new(1),
        }
    }

    /// Returns the configuration for mesh mTLS.
    pub(crate) fn mutual(&self, request: TlsRequest<'_>) -> Result<Arc<ClientTls>, Error> {
        let known = &self.mutual[request.socket][request.protocol.index()];
        if let Some(tls) = known.get() {
            return Ok(tls.clone());
        }
        let tls = Arc::new(config::mutual(request, self.next_id(), &self.settings)?);
        Ok(known.get_or_init(|| tls).clone())
    }

    /// Returns the configuration for TLS to `host` with certificates in files. Each call checks whether the files have
    /// changed, and reads them again if so.
    pub(crate) fn originated(&self, request: TlsRequest<'_>, host: &Host) -> Result<Arc<ClientTls>, Error> {
        let mut all = self.originated.lock();
        let serves = |one: &Originated| {
            (one.socket, one.protocol, &one.host) == (request.socket, request.protocol, host)
        };
        if let Some(known) = all.iter().find(|one| serves(one) && one.material.is_current()) {
            return Ok(known.tls.clone());
        }
        let material = FileCredentials::read(request, &self.settings.system_roots)?;
        let tls = Arc::new(config::originated(request, host, &material, self.next_id(), &self.settings)?);
        all.retain(|one| !serves(one) && one.material.is_current());
        let surplus = (all.len() + 1).saturating_sub(MAX_HOSTS);
        all.drain(..surplus);
        let (socket, protocol, host) = (request.socket, request.protocol, host.clone());
        all.push(Originated { socket, protocol, host, material, tls: tls.clone() });
        Ok(tls)
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for TlsConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigs").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
