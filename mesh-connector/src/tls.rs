//! TLS to workloads: configurations, kept as long as what they were made from holds.

pub(crate) mod alpn;
mod config;
mod files;
mod names;
mod verifier;

use std::{
    collections::HashMap,
    fmt, ptr,
    sync::{Arc, OnceLock},
};

use arc_swap::ArcSwap;
use nds_client::{Cluster, Identity, SpiffeId, TlsContext};
use rustls::{ClientConfig, KeyLog, RootCertStore, pki_types::ServerName, sign::CertifiedKey};

use self::files::Material;
pub(crate) use self::names::{names, uri_names};
use crate::{Error, Host, Protocol, Transport};

/// A TLS configuration for one cluster, protocol and identity.
#[derive(Debug)]
pub(crate) struct Prepared {
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

/// The configurations of one membership.
///
/// rustls resumes a session without asking the verifier again, so a configuration is never changed: everything that
/// decides whom it trusts and what it presents (identity, roots, expected names, protocols) is fixed when it is made,
/// with a verifier, a certificate resolver and a session store of its own. A new identity empties the cache; a
/// changed cluster is a new value with new configurations, and so are files whose content has changed. Reading is
/// wait-free.
pub(crate) struct TlsConfigs {
    current: ArcSwap<Generation>,
    key_log: Option<Arc<dyn KeyLog>>,
    /// The roots of this host's system, read at their first use.
    system: OnceLock<Arc<RootCertStore>>,
}

/// All configurations of one identity.
#[derive(Default)]
struct Generation {
    of: Option<Origin>,
    prepared: HashMap<Key, Entry>,
    /// Of TLS whose certificates are in files: one for each host that is asked for.
    originated: HashMap<Key, Vec<Originated>>,
}

/// What a generation was made from. Holding the values keeps their addresses from being used again.
struct Origin {
    epoch: u64,
    trust_domain: SpiffeId,
    certified_key: Arc<CertifiedKey>,
    roots: Arc<RootCertStore>,
}

/// The address of a TLS context inside a cluster that the entry keeps alive, and the protocol.
type Key = (usize, Protocol);

#[derive(Clone)]
struct Entry {
    cluster: Arc<Cluster>,
    prepared: Arc<Prepared>,
}

#[derive(Clone)]
struct Originated {
    host: Host,
    material: Arc<Material>,
    entry: Entry,
}

/// For so many hosts under one wildcard configurations are kept.
const HOSTS: usize = 64;

impl TlsConfigs {
    pub(crate) fn new(key_log: Option<Arc<dyn KeyLog>>) -> Self {
        Self { current: ArcSwap::default(), key_log, system: OnceLock::new() }
    }

    /// The configuration for a TLS context that belongs to `cluster`.
    pub(crate) fn get(
        &self,
        cluster: &Arc<Cluster>,
        context: &TlsContext,
        protocol: Protocol,
        identity: &Identity,
    ) -> Result<Arc<Prepared>, Error> {
        let key = (ptr::from_ref(context).addr(), protocol);
        let generation = self.current.load();
        if generation.is_of(identity)
            && let Some(entry) = generation.prepared.get(&key)
        {
            return Ok(entry.prepared.clone());
        }
        drop(generation);
        let prepared = config::mutual(cluster, context, protocol, identity, self.key_log.as_ref())?;
        let entry = Entry { cluster: cluster.clone(), prepared: Arc::new(prepared) };
        self.current.rcu(|generation| {
            let mut generation = generation.of(identity);
            generation.prepared.insert(key, entry.clone());
            generation
        });
        Ok(entry.prepared)
    }

    /// The configuration for a TLS context of `cluster` whose certificates are in files. They are looked at each time,
    /// and read again where they have changed.
    pub(crate) fn originated(
        &self,
        cluster: &Arc<Cluster>,
        context: &TlsContext,
        protocol: Protocol,
        host: &Host,
        identity: &Identity,
    ) -> Result<Arc<Prepared>, Error> {
        let key = (ptr::from_ref(context).addr(), protocol);
        let generation = self.current.load();
        if generation.is_of(identity)
            && let Some(all) = generation.originated.get(&key)
            && let Some(known) = all.iter().find(|one| one.host == *host && one.material.is_current())
        {
            return Ok(known.entry.prepared.clone());
        }
        drop(generation);
        let material = Arc::new(Material::read(cluster, context, identity, &self.system)?);
        let with = (&*material, identity);
        let prepared = config::originated(cluster, context, protocol, host, with, self.key_log.as_ref())?;
        let entry = Entry { cluster: cluster.clone(), prepared: Arc::new(prepared) };
        let fresh = Originated { host: host.clone(), material, entry };
        self.current.rcu(|generation| {
            let mut generation = generation.of(identity);
            let all = generation.originated.entry(key).or_default();
            all.retain(|one| one.host != *host && one.material.is_current());
            all.push(fresh.clone());
            all.drain(..all.len().saturating_sub(HOSTS));
            generation
        });
        Ok(fresh.entry.prepared)
    }
}

impl Generation {
    fn is_of(&self, identity: &Identity) -> bool {
        self.of.as_ref().is_some_and(|origin| {
            origin.epoch == identity.epoch()
                && origin.trust_domain == *identity.spiffe_id()
                && Arc::ptr_eq(&origin.certified_key, identity.certified_key())
                && Arc::ptr_eq(&origin.roots, identity.roots())
        })
    }

    /// A copy for this identity, without what belongs to others and to clusters that nobody else holds.
    fn of(&self, identity: &Identity) -> Self {
        let of = Some(Origin {
            epoch: identity.epoch(),
            trust_domain: identity.spiffe_id().clone(),
            certified_key: identity.certified_key().clone(),
            roots: identity.roots().clone(),
        });
        if !self.is_of(identity) {
            return Self { of, ..Self::default() };
        }
        let current = |(_, entry): &(&Key, &Entry)| Arc::strong_count(&entry.cluster) > 1;
        let prepared =
            self.prepared.iter().filter(current).map(|(key, entry)| (*key, entry.clone())).collect();
        // Those of one context hold the same cluster.
        let current = |(_, all): &(&Key, &Vec<Originated>)| {
            all.first().is_some_and(|one| Arc::strong_count(&one.entry.cluster) > all.len())
        };
        let originated =
            self.originated.iter().filter(current).map(|(key, all)| (*key, all.clone())).collect();
        Self { of, prepared, originated }
    }
}

impl fmt::Debug for TlsConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigs")
            .field("prepared", &self.current.load().prepared.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
