//! TLS to endpoints: the configurations of one cluster for one identity.

pub(crate) mod alpn;
mod config;
mod files;
mod names;
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
use rustls::{ClientConfig, KeyLog, RootCertStore, pki_types::ServerName};

use self::files::Material;
pub(crate) use self::names::{names, uri_names};
use crate::{
    connection::Transport,
    error::Error,
    target::{Host, Protocol},
};

/// The client side of a TLS connection, ready for a handshake.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// A number that no other configuration of the cluster has.
    pub(crate) id: u64,
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) sni: Arc<str>,
    pub(crate) alpn: Arc<[String]>,
    /// The identities that the peer may have, as texts.
    pub(crate) expected: Arc<[String]>,
    /// The name of every peer that the verifier accepts, where there is but one.
    pub(crate) only_name: Option<String>,
    pub(crate) transport: Transport,
}

/// What the configurations of all clusters have in common.
#[derive(Default)]
pub(crate) struct TlsSettings {
    pub(crate) key_log: Option<Arc<dyn KeyLog>>,
    /// The roots of this host's system, read at their first use.
    system_roots: OnceLock<Arc<RootCertStore>>,
}

impl TlsSettings {
    pub(crate) fn new(key_log: Option<Arc<dyn KeyLog>>) -> Self {
        Self { key_log, system_roots: OnceLock::new() }
    }
}

/// The TLS configurations of one cluster for one identity, each made at its first use.
///
/// rustls resumes a session without asking the verifier again, so a configuration is immutable: everything that
/// decides whom it trusts and what it presents (identity, roots, expected names, protocols) is fixed when it is made,
/// with a verifier, a certificate resolver and a session store of its own. A new identity and a changed cluster have a
/// new value of this type; changed files have a new configuration in it.
pub(crate) struct TlsConfigs {
    settings: Arc<TlsSettings>,
    /// Of mesh mTLS: by transport socket of the cluster, then by protocol.
    mutual: Box<[[OnceLock<Arc<ClientTls>>; Protocol::COUNT]]>,
    /// Of TLS origination, whose certificates are in files: one for each requested host.
    originated: Mutex<Vec<Originated>>,
    next_id: AtomicU64,
}

/// What a configuration is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TlsUse<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) identity: &'a Identity,
    /// The position of the context's transport socket ([`Cluster::transport_socket_index`]).
    pub(crate) socket: usize,
    pub(crate) context: &'a TlsContext,
    pub(crate) protocol: Protocol,
}

struct Originated {
    socket: usize,
    protocol: Protocol,
    host: Host,
    material: Material,
    tls: Arc<ClientTls>,
}

/// The greatest number of hosts under one wildcard for which configurations stay.
const HOSTS: usize = 64;

impl TlsConfigs {
    pub(crate) fn new(cluster: &Cluster, settings: Arc<TlsSettings>) -> Self {
        let sockets = cluster.transport_socket_matches.len() + 1;
        Self {
            settings,
            mutual: (0..sockets).map(|_| Default::default()).collect(),
            originated: Mutex::default(),
            // 0 stands for connections without TLS.
            next_id: AtomicU64::new(1),
        }
    }

    /// The configuration for mesh mTLS.
    pub(crate) fn mutual(&self, of: TlsUse<'_>) -> Result<Arc<ClientTls>, Error> {
        let known = &self.mutual[of.socket][of.protocol.index()];
        if let Some(tls) = known.get() {
            return Ok(tls.clone());
        }
        let tls = Arc::new(config::mutual(of, self.next_id(), self.settings.key_log.as_ref())?);
        Ok(known.get_or_init(|| tls).clone())
    }

    /// The configuration for TLS to `host` with certificates in files. The files are looked at each time, and read
    /// again when they have changed.
    pub(crate) fn originated(&self, of: TlsUse<'_>, host: &Host) -> Result<Arc<ClientTls>, Error> {
        let mut all = self.originated.lock();
        let serves =
            |one: &Originated| (one.socket, one.protocol, &one.host) == (of.socket, of.protocol, host);
        if let Some(known) = all.iter().find(|one| serves(one) && one.material.is_current()) {
            return Ok(known.tls.clone());
        }
        let material = Material::read(of, &self.settings.system_roots)?;
        let key_log = self.settings.key_log.as_ref();
        let tls = Arc::new(config::originated(of, host, &material, self.next_id(), key_log)?);
        all.retain(|one| !serves(one) && one.material.is_current());
        let surplus = (all.len() + 1).saturating_sub(HOSTS);
        all.drain(..surplus);
        let (socket, protocol, host) = (of.socket, of.protocol, host.clone());
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
