//! Loopback addresses of services, for clients that accept only an address.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpSocket};

use super::cannot_listen;
use crate::{
    error::{Error, ErrorKind},
    target::Target,
};

/// The start of 127.64.0.0/10. No other software is known to use these loopback addresses.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 0]);
const COUNT: u32 = 1 << 22;
const BACKLOG: u32 = 1024;

/// The port on which a loopback listener listens.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LocalPort {
    /// A port that the system chooses, for clients that accept both an address and a port.
    #[default]
    Any,
    /// The port of the target, for clients that take the port from another source than the address, such as a URL.
    /// Ports below 1024 need CAP_NET_BIND_SERVICE. Listening fails if another program listens on the same port of all
    /// addresses (0.0.0.0), unless that program has set `SO_REUSEPORT`, as this listener does.
    Real,
}

/// The loopback addresses that a bridge has assigned to names. Each method reads the current state. Cheap to clone; a
/// clone does not keep the bridge alive.
///
/// Names are canonical names, in lower case and without a trailing dot, as returned by `MeshResolver::canonical_name`.
#[derive(Clone, Debug, Default)]
pub struct LocalNames(Arc<ArcSwap<Table>>);

#[derive(Clone, Debug, Default)]
struct Table {
    addresses: HashMap<String, Ipv4Addr>,
    listeners: HashMap<(String, u16), SocketAddrV4>,
}

impl LocalNames {
    /// Returns the loopback address of a name. `None` if the bridge has assigned none. Wait-free.
    #[must_use]
    pub fn address(&self, canonical: &str) -> Option<Ipv4Addr> {
        self.0.load().addresses.get(canonical).copied()
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
        table.addresses.iter().find(|(_, theirs)| **theirs == address).map(|(name, _)| name.clone())
    }
}

/// The loopback addresses and listeners of a bridge.
pub(super) struct LocalListeners {
    names: LocalNames,
    listening: Mutex<OpenListeners>,
}

/// The open listeners.
pub(super) struct OpenListeners {
    names: LocalNames,
    most: usize,
    next: u32,
    bound: HashMap<String, SocketAddr>,
}

impl LocalListeners {
    /// Creates an empty set for at most `most` listeners.
    pub(super) fn new(most: usize) -> Self {
        let names = LocalNames::default();
        // A random start makes it unlikely that two processes choose the same address and port.
        let (next, bound) = (fastrand::u32(..), HashMap::new());
        let listening = OpenListeners { names: names.clone(), most, next, bound };
        Self { names, listening: Mutex::new(listening) }
    }

    pub(super) fn names(&self) -> LocalNames {
        self.names.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, OpenListeners> {
        self.listening.lock()
    }
}

impl OpenListeners {
    /// Returns the address of the listener for this target and port. `None` if there is no such listener.
    pub(super) fn listener(&self, target: &Target, canonical: &str, port: LocalPort) -> Option<SocketAddr> {
        self.bound.get(&key(target, canonical, port)).copied()
    }

    pub(super) fn bind(
        &mut self,
        target: &Target,
        canonical: &str,
        port: LocalPort,
    ) -> Result<(TcpListener, SocketAddr), Error> {
        if self.bound.len() >= self.most {
            let message = format!(
                "the bridge has {} loopback listeners, which is its limit, and cannot listen for {target}: raise \
                 `with_max_local_listeners`",
                self.most
            );
            return Err(Error::new(ErrorKind::Listen, message));
        }
        let ip = self.address_of(canonical);
        let wanted = match port {
            LocalPort::Any => 0,
            LocalPort::Real => target.port(),
        };
        let wanted = SocketAddrV4::new(ip, wanted);
        let bound = bind(wanted).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| refused(wanted, error))?;
        self.bound.insert(key(target, canonical, port), address);
        if let SocketAddr::V4(address) = address {
            self.publish(|table| {
                table.listeners.insert((canonical.to_owned(), target.port()), address);
            });
        }
        Ok((listener, address))
    }

    fn address_of(&mut self, canonical: &str) -> Ipv4Addr {
        if let Some(address) = self.names.address(canonical) {
            return address;
        }
        let free = |address: &Ipv4Addr| self.names.name(*address).is_none();
        let candidates = (1..).map(|step| Ipv4Addr::from(FIRST + self.next.wrapping_add(step) % COUNT));
        let usable = |address: &Ipv4Addr| !matches!(address.octets()[3], 0 | 255);
        let address = candidates.filter(usable).find(free).unwrap_or(Ipv4Addr::from(FIRST + 1));
        self.next = u32::from(address) - FIRST;
        self.publish(|table| {
            table.addresses.insert(canonical.to_owned(), address);
        });
        address
    }

    fn publish(&self, change: impl FnOnce(&mut Table)) {
        // Only the holder of the lock of `LocalListeners` changes the table.
        let mut table = Table::clone(&self.names.0.load());
        change(&mut table);
        self.names.0.store(Arc::new(table));
    }
}

/// Returns the key of a listener in [`OpenListeners::bound`].
fn key(target: &Target, canonical: &str, port: LocalPort) -> String {
    format!("{canonical}|{}|{}|{:?}|{port:?}", target.port(), target.subset(), target.protocol())
}

fn bind(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    if address.port() != 0 {
        socket.set_reuseaddr(true)?;
        #[cfg(unix)]
        socket.set_reuseport(true)?;
    }
    socket.bind(address.into())?;
    socket.listen(BACKLOG)
}

fn refused(address: SocketAddrV4, error: io::Error) -> Error {
    let next = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens on this port on all addresses: let it set SO_REUSEPORT or listen on one address, \
                         or use LocalPort::Any"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE or a separate network namespace"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this system does not accept all of 127.0.0.0/8 as loopback addresses (Linux does)"
        }
        _ => "the system refused the socket",
    };
    cannot_listen(address, next, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16) -> Target {
        Target::new("forecast.weather", port).unwrap()
    }

    #[tokio::test]
    async fn a_name_keeps_its_address_and_other_names_get_different_ones() {
        let local_listeners = LocalListeners::new(3);
        let mut listening = local_listeners.lock();
        let (_a, first) = listening.bind(&target(80), "a", LocalPort::Any).unwrap();
        let (_b, second) = listening.bind(&target(81), "a", LocalPort::Any).unwrap();
        let (_c, other) = listening.bind(&target(80), "b", LocalPort::Any).unwrap();
        assert_eq!(first.ip(), second.ip());
        assert_ne!(first.ip(), other.ip());
        let error = listening.bind(&target(82), "d", LocalPort::Any).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Listen, "the limit is three: {error}");
        let names = local_listeners.names();
        assert_eq!(names.address("a").map(Into::into), Some(first.ip()));
        assert_eq!(names.listener("a", 81), Some(second));
        assert_eq!(listening.listener(&target(80), "a", LocalPort::Any), Some(first));
        let std::net::IpAddr::V4(ip) = first.ip() else { panic!("not IPv4") };
        assert_eq!(names.name(ip).as_deref(), Some("a"));
        assert_eq!((ip.octets()[0], ip.octets()[1] >> 6), (127, 1), "{ip}");
    }

    #[tokio::test]
    async fn a_real_port_that_another_program_uses_is_an_error_with_the_next_step() {
        let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = everywhere.local_addr().unwrap().port();
        let local_listeners = LocalListeners::new(2);
        let error = local_listeners.lock().bind(&target(port), "a", LocalPort::Real).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Listen);
        assert!(error.to_string().contains("SO_REUSEPORT"), "{error}");
    }
}
