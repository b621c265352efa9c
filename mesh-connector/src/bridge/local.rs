//! Loopback addresses that stand for names: for clients that take an address and nothing else.

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

/// 127.64.0.0/10: on loopback, and used by nobody else that is known.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 0]);
const COUNT: u32 = 1 << 22;
const BACKLOG: u32 = 1024;

/// On which port a loopback address is listened on.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum LocalPort {
    /// On one that the system chooses: for clients that take the port together with the address.
    #[default]
    Any,
    /// On the target's own: for clients that take the port from elsewhere, such as a URL. Ports below 1024 need the
    /// privilege for them. A program that listens on the same port of all addresses is in the way, unless it has set
    /// `SO_REUSEPORT`, as this listener does.
    Real,
}

/// The loopback addresses of names, current at each question. Cheap to clone; it does not keep the bridge alive.
///
/// This is what a resolver asks that answers with loopback addresses (mesh-resolver's `Local` answers): names are the
/// mesh's own, lower-case and without a trailing dot, as `MeshResolver::resolve` gives them.
#[derive(Clone, Debug, Default)]
pub struct LocalNames(Arc<ArcSwap<Table>>);

#[derive(Clone, Debug, Default)]
struct Table {
    addresses: HashMap<String, Ipv4Addr>,
    listeners: HashMap<(String, u16), SocketAddrV4>,
}

impl LocalNames {
    /// The address that stands for a name. Wait-free.
    #[must_use]
    pub fn address(&self, canonical: &str) -> Option<Ipv4Addr> {
        self.0.load().addresses.get(canonical).copied()
    }

    /// Where a port of a name is listened on. Wait-free.
    #[must_use]
    pub fn listener(&self, canonical: &str, port: u16) -> Option<SocketAddr> {
        let table = self.0.load();
        table.listeners.get(&(canonical.to_owned(), port)).map(|address| (*address).into())
    }

    /// The name that an address stands for: for those who log addresses.
    #[must_use]
    pub fn name(&self, address: Ipv4Addr) -> Option<String> {
        let table = self.0.load();
        table.addresses.iter().find(|(_, theirs)| **theirs == address).map(|(name, _)| name.clone())
    }
}

/// Which addresses are given to whom.
pub(super) struct Locals {
    names: LocalNames,
    listening: Mutex<Listening>,
}

/// What is listened on already.
pub(super) struct Listening {
    names: LocalNames,
    most: usize,
    next: u32,
    bound: HashMap<String, SocketAddr>,
}

impl Locals {
    /// With so many listeners at most.
    pub(super) fn new(most: usize) -> Self {
        let names = LocalNames::default();
        // Each process begins elsewhere, so that two of them seldom want the same address and port.
        let (next, bound) = (fastrand::u32(..), HashMap::new());
        let listening = Listening { names: names.clone(), most, next, bound };
        Self { names, listening: Mutex::new(listening) }
    }

    pub(super) fn names(&self) -> LocalNames {
        self.names.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Listening> {
        self.listening.lock()
    }
}

impl Listening {
    /// Where this is listened on already.
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
                "the bridge listens for {} services and ports, as many as it may, and {target} would be one more: see \
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
        // Changed under the lock of `Locals` alone.
        let mut table = Table::clone(&self.names.0.load());
        change(&mut table);
        self.names.0.store(Arc::new(table));
    }
}

/// What tells listeners apart.
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
            "a program of this host listens on this port of all addresses: let it set SO_REUSEPORT or listen on one \
             address, or take LocalPort::Any"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE), or a network namespace of one's own"
        }
        io::ErrorKind::AddrNotAvailable => "only Linux has all of 127.0.0.0/8 on loopback",
        _ => "no listener came about",
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
    async fn a_name_keeps_its_address_and_others_get_others() {
        let locals = Locals::new(3);
        let mut listening = locals.lock();
        let (_a, first) = listening.bind(&target(80), "a", LocalPort::Any).unwrap();
        let (_b, second) = listening.bind(&target(81), "a", LocalPort::Any).unwrap();
        let (_c, other) = listening.bind(&target(80), "b", LocalPort::Any).unwrap();
        assert_eq!(first.ip(), second.ip());
        assert_ne!(first.ip(), other.ip());
        let error = listening.bind(&target(82), "d", LocalPort::Any).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Listen, "three are the most here: {error}");
        let names = locals.names();
        assert_eq!(names.address("a").map(Into::into), Some(first.ip()));
        assert_eq!(names.listener("a", 81), Some(second));
        assert_eq!(listening.listener(&target(80), "a", LocalPort::Any), Some(first));
        let std::net::IpAddr::V4(ip) = first.ip() else { panic!("not IPv4") };
        assert_eq!(names.name(ip).as_deref(), Some("a"));
        assert_eq!((ip.octets()[0], ip.octets()[1] >> 6), (127, 1), "{ip}");
    }

    #[tokio::test]
    async fn a_real_port_that_another_program_has_is_refused_with_the_way_out() {
        let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = everywhere.local_addr().unwrap().port();
        let locals = Locals::new(2);
        let error = locals.lock().bind(&target(port), "a", LocalPort::Real).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Listen);
        assert!(error.to_string().contains("SO_REUSEPORT"), "{error}");
    }
}
