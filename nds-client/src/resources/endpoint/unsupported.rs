//! Endpoints to which this client cannot connect.

use std::fmt;

use xds_proto::envoy::config::core::v3::{
    Address, EnvoyInternalAddress, Pipe, SocketAddress, address, envoy_internal_address::AddressNameSpecifier,
};

use super::{Endpoint, Workload, authority, socket_address, split_authority};

/// The internal listeners of Envoy that send a connection through HBONE tunnels (istio
/// `pilot/pkg/xds/endpoints/endpoint_builder.go`, `ep_filters.go`).
const HBONE_LISTENERS: [&str; 3] = ["connect_originate", "inner_connect_originate", "forward_inner_connect"];

/// The port on which gateways and ztunnels accept HBONE tunnels.
const HBONE_PORT: u16 = 15008;

/// An endpoint of a cluster to which this client cannot connect. Connections use the other endpoints of the cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct UnsupportedEndpoint {
    /// The address: host and port of the workload, the path of a Unix socket, or an empty text if the endpoint has
    /// none.
    pub address: String,
    /// The reason why this client cannot connect to the endpoint.
    pub reason: Unsupported,
    /// The workload behind the endpoint.
    pub workload: Workload,
}

/// The reason why this client cannot connect to an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Unsupported {
    /// The workload is in ambient mode without a sidecar: it accepts mesh mTLS only through an HBONE tunnel.
    Hbone,
    /// The east-west gateway accepts only HBONE tunnels. Its port is 15008, or 0 if it has no port for mTLS.
    HboneGateway,
    /// The address is an internal listener of Envoy with this name.
    InternalListener(String),
    /// The address is a Unix socket.
    UnixSocket,
    /// The endpoint has no address with a valid TCP port.
    NoAddress,
}

impl Unsupported {
    /// Returns the reason why this client cannot connect to an endpoint with a socket address; `None` if it can
    /// connect.
    pub(super) fn of(endpoint: &Endpoint) -> Option<Self> {
        match endpoint.port {
            _ if endpoint.transport_match.get("tunnel").is_some_and(|tunnel| tunnel == "http") => {
                Some(Self::Hbone)
            }
            0 | HBONE_PORT if endpoint.is_gateway() => Some(Self::HboneGateway),
            0 => Some(Self::NoAddress),
            _ => None,
        }
    }

    /// Returns the address of an endpoint without a socket address, and the reason why this client cannot connect to
    /// it.
    pub(super) fn of_address(address: Option<Address>) -> (String, Self) {
        match address.and_then(|address| address.address) {
            Some(address::Address::EnvoyInternalAddress(internal)) => {
                let Some(AddressNameSpecifier::ServerListenerName(listener)) =
                    internal.address_name_specifier
                else {
                    return (internal.endpoint_id, Self::InternalListener(String::new()));
                };
                let is_hbone = HBONE_LISTENERS.contains(&listener.as_str());
                (internal.endpoint_id, if is_hbone { Self::Hbone } else { Self::InternalListener(listener) })
            }
            Some(address::Address::Pipe(pipe)) => (pipe.path, Self::UnixSocket),
            Some(address::Address::SocketAddress(socket)) => (authority(&socket.address, 0), Self::NoAddress),
            None => (String::new(), Self::NoAddress),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hbone => f.write_str(
                "the workload is in ambient mode and reachable only via HBONE, which is not supported yet",
            ),
            Self::HboneGateway => {
                f.write_str("the gateway accepts only HBONE (port 15008), which is not supported yet")
            }
            Self::InternalListener(name) => {
                write!(f, "its address is Envoy's internal listener `{name}`, which is not supported")
            }
            Self::UnixSocket => f.write_str("its address is a Unix socket, which is not supported"),
            Self::NoAddress => f.write_str("istiod sent no address with a valid port"),
        }
    }
}

impl UnsupportedEndpoint {
    /// Returns an address for the wire that is decoded to the same address and reason.
    pub(super) fn wire_address(&self) -> Option<Address> {
        let internal = |listener: &str| {
            address::Address::EnvoyInternalAddress(EnvoyInternalAddress {
                address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(listener.to_owned())),
                endpoint_id: self.address.clone(),
            })
        };
        let address = match &self.reason {
            Unsupported::Hbone => internal("connect_originate"),
            Unsupported::InternalListener(name) => internal(name),
            Unsupported::HboneGateway => {
                let (host, port) = split_authority(&self.address)?;
                return Some(socket_address(host.to_owned(), port));
            }
            Unsupported::UnixSocket => address::Address::Pipe(Pipe { path: self.address.clone() }),
            Unsupported::NoAddress => {
                let (host, _) = split_authority(&self.address)?;
                // Without a port: a gateway with port 0 is decoded to another reason.
                address::Address::SocketAddress(SocketAddress {
                    address: host.to_owned(),
                    port_specifier: None,
                })
            }
        };
        Some(Address { address: Some(address) })
    }
}
