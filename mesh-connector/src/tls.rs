//! TLS to workloads: configurations, kept as long as what they were made from holds.

pub(crate) mod alpn;
mod config;
mod verifier;

use std::{collections::HashMap, fmt, ptr, sync::Arc};

use arc_swap::ArcSwap;
use nds_client::{Cluster, Identity, SpiffeId, TlsContext};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName, sign::CertifiedKey};

use crate::{Error, Protocol};

pub(crate) use self::verifier::uri_names;

/// A TLS configuration for one cluster, protocol and identity.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    pub(crate) sni: Arc<str>,
    pub(crate) alpn: Arc<[String]>,
    /// The identities that the peer may have, as texts.
    pub(crate) expected: Arc<[String]>,
}

/// The configurations of one membership.
///
/// rustls resumes a session without asking the verifier again, so a configuration is never changed: everything that
/// decides whom it trusts and what it presents (identity, roots, expected names, protocols) is fixed when it is made,
/// with a verifier, a certificate resolver and a session store of its own. A new identity empties the cache; a
/// changed cluster is a new value with new configurations. Reading is wait-free.
pub(crate) struct TlsConfigs(ArcSwap<Generation>);

/// All configurations of one identity.
#[derive(Default)]
struct Generation {
    of: Option<Origin>,
    prepared: HashMap<Key, Entry>,
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

impl TlsConfigs {
    pub(crate) fn new() -> Self {
        Self(ArcSwap::default())
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
        let generation = self.0.load();
        if generation.is_of(identity)
            && let Some(entry) = generation.prepared.get(&key)
        {
            return Ok(entry.prepared.clone());
        }
        drop(generation);
        let prepared = Arc::new(config::prepare(cluster, context, protocol, identity)?);
        let entry = Entry { cluster: cluster.clone(), prepared: prepared.clone() };
        self.0.rcu(|generation| generation.with(identity, key, &entry));
        Ok(prepared)
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

    /// A copy with one more entry, and without those of other identities and of clusters that nobody else holds.
    fn with(&self, identity: &Identity, key: Key, entry: &Entry) -> Self {
        let current = |(_, entry): &(&Key, &Entry)| Arc::strong_count(&entry.cluster) > 1;
        let mut prepared: HashMap<_, _> = match self.is_of(identity) {
            true => self.prepared.iter().filter(current).map(|(key, entry)| (*key, entry.clone())).collect(),
            false => HashMap::new(),
        };
        prepared.insert(key, entry.clone());
        let of = Some(Origin {
            epoch: identity.epoch(),
            trust_domain: identity.spiffe_id().clone(),
            certified_key: identity.certified_key().clone(),
            roots: identity.roots().clone(),
        });
        Self { of, prepared }
    }
}

impl fmt::Debug for TlsConfigs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfigs").field("prepared", &self.0.load().prepared.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
