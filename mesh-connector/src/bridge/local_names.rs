//! The loopback addresses that a bridge has assigned to names.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use arc_swap::ArcSwap;

/// The loopback addresses that a bridge has assigned to names. Each method reads the current state. Cheap to clone; a
/// clone does not keep the bridge alive.
///
/// Names are canonical names, in lower case and without a trailing dot, as returned by `MeshResolver::canonical_name`.
#[derive(Clone, Debug, Default)]
pub struct LocalNames(Arc<ArcSwap<Table>>);

#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// The addresses of [`listen_local`](super::Bridge::listen_local).
    pub(super) fixed: HashMap<String, Ipv4Addr>,
    /// The addresses of [`LocalServices`](super::LocalServices).
    pub(super) services: HashMap<String, Ipv4Addr>,
    pub(super) listeners: HashMap<(String, u16), SocketAddrV4>,
}

impl LocalNames {
    /// Returns the loopback address of a name. `None` if the bridge has assigned none. Wait-free.
    ///
    /// Do not connect to a port of this address without checking it with [`listener`](Self::listener): the bridge does
    /// not listen on every port, and another program may answer on the others.
    #[must_use]
    pub fn address(&self, canonical: &str) -> Option<Ipv4Addr> {
        let table = self.0.load();
        table.services.get(canonical).or_else(|| table.fixed.get(canonical)).copied()
    }

    /// Returns the address of the listener for a service port of a name. `None` if there is no such listener.
    /// Wait-free.
    #[must_use]
    pub fn listener(&self, canonical: &str, port: u16) -> Option<SocketAddr> {
        let table = self.0.load();
        table.listeners.get(&(canonical.to_owned(), port)).map(|address| (*address).into())
    }

    /// Returns the name that has a loopback address, for instance for logs. `None` if no name has it.
    #[must_use]
    pub fn name(&self, address: Ipv4Addr) -> Option<String> {
        let table = self.0.load();
        let mut all = table.services.iter().chain(&table.fixed);
        all.find(|(_, theirs)| **theirs == address).map(|(name, _)| name.clone())
    }

    /// Changes the table. Only one thread at a time may call this.
    pub(super) fn publish(&self, change: impl FnOnce(&mut Table)) {
        let mut table = Table::clone(&self.0.load());
        change(&mut table);
        self.0.store(Arc::new(table));
    }
}
