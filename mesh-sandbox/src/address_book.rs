//! The mapping between the addresses in the YAML and the sockets that serve them. An address such as 10.1.0.5 cannot be
//! bound on a development machine, so every listener is on loopback, and EDS contains the loopback sockets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::RwLock;

/// An address as written in the YAML. Two networks may use the same addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct YamlAddress {
    /// The network of the address. The text is empty if the YAML assigns no network.
    pub network: String,
    /// An IP address, or the host name of a DNS endpoint.
    pub address: String,
    /// The port in the YAML.
    pub port: u16,
}

impl YamlAddress {
    pub(crate) fn new(network: &str, address: &str, port: u16) -> Self {
        Self { network: network.to_owned(), address: address.to_owned(), port }
    }
}

/// The addresses of an east-west gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayAddress {
    /// The network that the gateway leads into.
    pub network: String,
    /// The Kubernetes cluster in which the gateway runs. The text is empty for a gateway that `meshNetworks.yaml`
    /// configures by address.
    pub cluster: String,
    /// The gateway's address in the YAML.
    pub yaml_address: String,
    /// The gateway's port in the YAML.
    pub yaml_port: u16,
    /// The loopback socket on which the gateway listens.
    pub address: SocketAddr,
}

/// The mapping between addresses in the YAML and loopback sockets. Clones are cheap and always show the current state.
#[derive(Clone, Debug, Default)]
pub struct AddressBook(Arc<RwLock<BTreeMap<YamlAddress, SocketAddr>>>);

impl AddressBook {
    pub(crate) fn insert(&self, address: YamlAddress, socket: SocketAddr) {
        self.0.write().insert(address, socket);
    }

    pub(crate) fn remove(&self, address: &YamlAddress) {
        self.0.write().remove(address);
    }

    /// Returns the socket that serves an address of the YAML, or `None` if no socket serves it.
    pub fn socket(&self, network: &str, address: &str, port: u16) -> Option<SocketAddr> {
        self.0.read().get(&YamlAddress::new(network, address, port)).copied()
    }

    /// Returns the address of the YAML that a socket serves, or `None` if the socket serves none.
    pub fn yaml(&self, socket: SocketAddr) -> Option<YamlAddress> {
        self.0.read().iter().find(|(_, it)| **it == socket).map(|(address, _)| address.clone())
    }

    /// Returns all addresses with their sockets, sorted by address.
    pub fn entries(&self) -> Vec<(YamlAddress, SocketAddr)> {
        self.0.read().iter().map(|(address, socket)| (address.clone(), *socket)).collect()
    }
}
