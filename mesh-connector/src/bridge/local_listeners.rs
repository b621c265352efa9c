//! The loopback listeners of a bridge, for clients that accept only an address.
//!
//! A client that resolves a name chooses the port itself. It sends plaintext, so no other program may receive it on any
//! port of the service. On Linux, a program that listens on 0.0.0.0 receives the connections to all loopback addresses
//! on which no other program listens. A service therefore has either a listener on each of its ports, or no address.
//!
//! After a listener is closed, another program can bind its port, while a client may still use the address. Listeners
//! therefore stay open as long as the bridge, with one exception: if another service needs a listener and the limit is
//! reached, the bridge closes the listeners of the service that has been idle for the longest time.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use sidestep_util::descriptors::{Budget, Permit};

use super::{
    cannot_listen,
    listening::Listening,
    local_names::{LocalNames, Table},
};
use crate::{
    error::{Error, ErrorKind},
    target::Target,
};

/// The start of 127.64.0.0/10. No other software is known to use these loopback addresses.
const FIRST: u32 = u32::from_be_bytes([127, 64, 0, 0]);
const COUNT: u32 = 1 << 22;

/// The share of the free file descriptors of this process that loopback listeners may use: one in four.
const DESCRIPTOR_SHARE: usize = 4;

/// The time since the last lookup and the last connection after which a service may lose its listeners. Its answers have
/// a TTL of zero, but some clients cache addresses for a minute regardless.
const MIN_IDLE: Duration = Duration::from_secs(300);

/// The time for which a failed attempt to open a listener is remembered. Lookups in this time fail without another
/// attempt.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// The maximum number of remembered failures to open a listener.
const MAX_FAILED: usize = 1024;

/// The port on which a loopback listener listens.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum LocalPort {
    /// A port that the system chooses, for clients that accept both an address and a port.
    #[default]
    Any,
    /// The port of the target, for clients that take the port from a URL or a configuration and resolve only the host.
    /// Ports below 1024 need CAP_NET_BIND_SERVICE. Listening fails if another program listens on the same port of all
    /// addresses (0.0.0.0 or `[::]`).
    Real,
}

/// A listener of a service.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum ServicePort {
    /// The listener on this port of the service.
    Number(u16),
    /// The listener for URLs without a port, on a port that the system chooses.
    Schemes,
}

impl ServicePort {
    /// Returns the port to bind: 0 if the system chooses it.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Number(port) => port,
            Self::Schemes => 0,
        }
    }
}

/// The loopback addresses and listeners of a bridge.
#[derive(Debug)]
pub(super) struct LocalListeners {
    names: LocalNames,
    open: Mutex<OpenListeners>,
}

/// The open listeners. This type does no IO: its methods receive the time and a function that binds a listener.
#[derive(Debug)]
pub(super) struct OpenListeners {
    names: LocalNames,
    budget: Arc<Budget>,
    /// The maximum number of listeners, for error messages.
    max: usize,
    /// The offset of the last assigned address from the start of the address range.
    last: u32,
    /// The addresses of the names for which the program opens listeners.
    addresses: HashMap<String, Ipv4Addr>,
    /// The listeners that the program opened. They stay open until the bridge ends.
    fixed: HashMap<String, Entry>,
    services: HashMap<String, Service>,
    failed: HashMap<(String, Vec<ServicePort>), Failed>,
}

#[derive(Debug)]
struct Entry {
    listening: Listening,
    _permit: Permit,
}

/// A service to which the bridge has assigned a loopback address.
#[derive(Debug)]
struct Service {
    ip: Ipv4Addr,
    ports: BTreeMap<ServicePort, Entry>,
    looked_up: Instant,
}

#[derive(Debug)]
struct Failed {
    at: Instant,
    error: Error,
}

impl LocalListeners {
    /// Creates an empty set for at most `max` listeners.
    pub(super) fn new(max: usize) -> Self {
        // A random start makes it unlikely that two processes choose the same address and port.
        Self::starting_at(fastrand::u32(..), max, Arc::new(Budget::new(DESCRIPTOR_SHARE, max)))
    }

    fn starting_at(last: u32, max: usize, budget: Arc<Budget>) -> Self {
        let names = LocalNames::default();
        let open = OpenListeners {
            names: names.clone(),
            budget,
            max,
            last,
            addresses: HashMap::new(),
            fixed: HashMap::new(),
            services: HashMap::new(),
            failed: HashMap::new(),
        };
        Self { names, open: Mutex::new(open) }
    }

    pub(super) fn names(&self) -> LocalNames {
        self.names.clone()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, OpenListeners> {
        self.open.lock()
    }
}

impl OpenListeners {
    /// Returns the address of the listener that the program opens for this target and port. Opens the listener with
    /// `bind` if it is not open yet.
    pub(super) fn fixed(
        &mut self,
        target: &Target,
        canonical: &str,
        port: LocalPort,
        now: Instant,
        bind: impl FnOnce(SocketAddrV4) -> io::Result<Listening>,
    ) -> Result<SocketAddr, Error> {
        let key =
            format!("{canonical}|{}|{}|{:?}|{port:?}", target.port(), target.subset(), target.protocol());
        if let Some(entry) = self.fixed.get(&key).filter(|entry| entry.listening.is_open()) {
            return Ok(entry.listening.address().into());
        }
        let permit = self.acquire(target, now)?;
        let number = match port {
            LocalPort::Any => 0,
            LocalPort::Real => target.port(),
        };
        // Listeners for different subsets or protocols of one port need different addresses.
        let has_listener = |address| self.fixed.values().any(|entry| entry.listening.address() == address);
        let known = self.addresses.get(canonical).map(|ip| SocketAddrV4::new(*ip, number));
        let wanted = match known.filter(|address| !has_listener(*address)) {
            Some(address) => address,
            None => SocketAddrV4::new(self.next_address(), number),
        };
        let listening = bind(wanted).map_err(|error| refused(wanted, target, error))?;
        let address = listening.address();
        self.addresses.entry(canonical.to_owned()).or_insert(*address.ip());
        self.names.publish(|table| {
            table.fixed.entry(canonical.to_owned()).or_insert(*address.ip());
            table.listeners.insert((canonical.to_owned(), target.port()), address);
        });
        self.fixed.insert(key, Entry { listening, _permit: permit });
        Ok(address.into())
    }

    /// Returns the address of a service on which the bridge listens on all of these ports. Opens the missing listeners
    /// with `bind`.
    ///
    /// # Errors
    ///
    /// `Listen`: a port cannot be bound, or the limit is reached. A new service then gets no address. A service that has
    /// an address keeps its listeners, because clients may still use the address.
    pub(super) fn service(
        &mut self,
        host: &str,
        wanted: &[ServicePort],
        now: Instant,
        mut bind: impl FnMut(ServicePort, SocketAddrV4) -> Result<Listening, Error>,
    ) -> Result<Ipv4Addr, Error> {
        if let Some(service) = self.services.get_mut(host)
            && service.listens_on(wanted)
        {
            service.looked_up = now;
            return Ok(service.ip);
        }
        let attempt = (host.to_owned(), wanted.to_vec());
        if let Some(failed) = self.failed.get(&attempt).filter(|failed| failed.is_recent(now)) {
            return Err(failed.error.clone());
        }
        // The service is removed from the map for now, so that making room for its new listeners cannot close its old
        // ones.
        let mut service = match self.services.remove(host) {
            Some(service) => service,
            None => Service { ip: self.next_address(), ports: BTreeMap::new(), looked_up: now },
        };
        service.looked_up = now;
        let is_new = service.ports.is_empty();
        let opened = self.open_missing(host, &mut service, wanted, now, &mut bind);
        let ip = service.ip;
        if opened.is_ok() || !is_new {
            self.names.publish(|table| service.publish(host, table));
            self.services.insert(host.to_owned(), service);
        }
        match opened {
            Ok(()) => {
                self.failed.remove(&attempt);
                Ok(ip)
            }
            Err(error) => {
                self.remember(attempt, &error, now);
                Err(error)
            }
        }
    }

    /// Returns the socket address of the listener for this port of the service.
    pub(super) fn address(&self, host: &str, port: ServicePort) -> Option<SocketAddr> {
        let entry = self.services.get(host)?.ports.get(&port)?;
        Some(entry.listening.address().into())
    }

    /// Returns the services that have an address.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.services.keys().cloned().collect()
    }

    fn open_missing(
        &mut self,
        host: &str,
        service: &mut Service,
        wanted: &[ServicePort],
        now: Instant,
        bind: &mut impl FnMut(ServicePort, SocketAddrV4) -> Result<Listening, Error>,
    ) -> Result<(), Error> {
        for port in wanted {
            if service.listens_on(&[*port]) {
                continue;
            }
            let permit = self.acquire(&host, now)?;
            let listening = bind(*port, SocketAddrV4::new(service.ip, port.number()))?;
            service.ports.insert(*port, Entry { listening, _permit: permit });
        }
        Ok(())
    }

    /// Takes a descriptor from the budget. If the budget is used up, first closes the listeners of idle services.
    fn acquire(&mut self, what: &dyn std::fmt::Display, now: Instant) -> Result<Permit, Error> {
        loop {
            if let Some(permit) = self.budget.acquire(1) {
                return Ok(permit);
            }
            if !self.close_idle(now) {
                return Err(self.limit_reached(what));
            }
        }
    }

    /// Closes the listeners of the service that has been idle for the longest time, if it has been idle for long enough.
    fn close_idle(&mut self, now: Instant) -> bool {
        let idle = self.services.iter().map(|(host, service)| (service.last_used(now), host));
        let longest =
            idle.min().filter(|(last_used, _)| now.saturating_duration_since(*last_used) >= MIN_IDLE);
        let Some((_, host)) = longest else { return false };
        let host = host.clone();
        self.services.remove(&host);
        self.names.publish(|table| {
            table.services.remove(&host);
            table.listeners.retain(|(name, _), _| *name != host || table.fixed.contains_key(name));
        });
        tracing::debug!(
            host,
            "the loopback listeners of an idle service were closed to make room for another service"
        );
        true
    }

    fn remember(&mut self, attempt: (String, Vec<ServicePort>), error: &Error, now: Instant) {
        if self.failed.len() >= MAX_FAILED {
            self.failed.retain(|_, failed| failed.is_recent(now));
        }
        if self.failed.len() < MAX_FAILED {
            self.failed.insert(attempt, Failed { at: now, error: error.clone() });
        }
    }

    fn limit_reached(&self, what: &dyn std::fmt::Display) -> Error {
        let (count, max) = (self.budget.in_use(), self.max);
        if count >= max {
            let message = format!(
                "the bridge cannot listen for {what}, because it has {count} loopback listeners, which is its limit: \
                 raise `with_max_local_listeners`"
            );
            return Error::new(ErrorKind::Listen, message);
        }
        let message = format!(
            "the bridge cannot listen for {what}, because its {count} loopback listeners use a quarter of the file \
             descriptors that are left: raise RLIMIT_NOFILE (`ulimit -n`, `LimitNOFILE=` of systemd)"
        );
        Error::new(ErrorKind::LocalResource, message)
    }

    /// Returns an address that no other name has.
    fn next_address(&mut self) -> Ipv4Addr {
        let (start, names) = (self.last, &self.names);
        let mut candidates = (1..COUNT).map(|step| Ipv4Addr::from(FIRST + start.wrapping_add(step) % COUNT));
        let usable =
            |address: &Ipv4Addr| !matches!(address.octets()[3], 0 | 255) && names.name(*address).is_none();
        let address = candidates.find(usable).unwrap_or(Ipv4Addr::from(FIRST + 1));
        self.last = u32::from(address) - FIRST;
        address
    }
}

impl Service {
    fn listens_on(&self, ports: &[ServicePort]) -> bool {
        ports.iter().all(|port| self.ports.get(port).is_some_and(|entry| entry.listening.is_open()))
    }

    fn last_used(&self, now: Instant) -> Instant {
        let clients = self.ports.values().filter_map(|entry| entry.listening.last_used(now)).max();
        clients.map_or(self.looked_up, |clients| clients.max(self.looked_up))
    }

    fn publish(&self, host: &str, table: &mut Table) {
        table.services.insert(host.to_owned(), self.ip);
        for (port, entry) in &self.ports {
            if let ServicePort::Number(port) = port {
                let key = (host.to_owned(), *port);
                // If two listeners serve the same key, prefers the one that the program opened, because it stays open
                // for longer.
                if table.listeners.get(&key).is_none_or(|known| table.fixed.get(host) != Some(known.ip())) {
                    table.listeners.insert(key, entry.listening.address());
                }
            }
        }
    }
}

impl Failed {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < RETRY_DELAY
    }
}

/// Returns the error for a listener of `target` that could not be opened.
pub(super) fn refused(address: SocketAddrV4, target: &Target, error: io::Error) -> Error {
    let next = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens on this port on all addresses, and would receive the connections: let it listen on \
             one address, run this process in a network namespace of its own, or use a client that accepts a port \
             (`LocalPort::Any`) or the proxy"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE or a network namespace of its own; otherwise use a client that \
             accepts a port (`LocalPort::Any`) or the proxy"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this system does not accept all of 127.0.0.0/8 as loopback addresses (Linux does)"
        }
        _ => "the operating system refused the listening socket",
    };
    cannot_listen(format_args!("{address} for {target}"), next, error)
}

#[cfg(test)]
mod tests;
