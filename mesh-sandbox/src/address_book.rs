//! Where the addresses of the YAML really are: no one can bind 10.1.0.5 on a laptop, so everything listens on
//! loopback and EDS carries the loopback sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::RwLock;

/// An address as the YAML has it. Two networks may use the same addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct YamlAddress {
    /// The network; empty where the YAML names none.
    pub network: String,
    /// An IP address, or the host name of a DNS endpoint.
    pub address: String,
    /// The port.
    pub port: u16,
}

impl YamlAddress {
    pub(crate) fn new(network: &str, address: &str, port: u16) -> Self {
        Self { network: network.to_owned(), address: address.to_owned(), port }
    }
}

/// The map from addresses of the YAML to sockets on loopback. Cheap to clone; shows changes as they happen.
#[derive(Clone, Debug, Default)]
pub struct AddressBook(Arc<RwLock<BTreeMap<YamlAddress, SocketAddr>>>);

impl AddressBook {
    pub(crate) fn insert(&self, address: YamlAddress, socket: SocketAddr) {
        self.0.write().insert(address, socket);
    }

    pub(crate) fn remove(&self, address: &YamlAddress) {
        self.0.write().remove(address);
    }

    /// The socket of an address of the YAML.
    pub fn socket(&self, network: &str, address: &str, port: u16) -> Option<SocketAddr> {
        self.0.read().get(&YamlAddress::new(network, address, port)).copied()
    }

    /// The address of the YAML that a socket stands for.
    pub fn yaml(&self, socket: SocketAddr) -> Option<YamlAddress> {
        self.0.read().iter().find(|(_, it)| **it == socket).map(|(address, _)| address.clone())
    }

    /// Everything, in order.
    pub fn entries(&self) -> Vec<(YamlAddress, SocketAddr)> {
        self.0.read().iter().map(|(address, socket)| (address.clone(), *socket)).collect()
    }
}
