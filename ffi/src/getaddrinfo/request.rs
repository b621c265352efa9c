//! The arguments of a `getaddrinfo` call.

use std::{borrow::Cow, ffi::c_char, net::IpAddr};

use libc::{
    AF_INET, AF_INET6, AF_UNSPEC, AI_ADDRCONFIG, AI_ALL, AI_CANONNAME, AI_NUMERICHOST, AI_NUMERICSERV,
    AI_PASSIVE, AI_V4MAPPED, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_RAW, SOCK_STREAM, addrinfo, c_int,
};
use smallvec::SmallVec;

use super::system;
use crate::{
    addresses::Addresses,
    arguments::{optional_text, text},
    failure::Failure,
    status::{SIDESTEP_E_INVALID_ARGUMENT, SIDESTEP_E_UNKNOWN_HOST},
};

/// The maximum length of a DNS name with its final dot (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 254;

const FLAGS: c_int =
    AI_ADDRCONFIG | AI_ALL | AI_CANONNAME | AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE | AI_V4MAPPED;

/// The socket types and protocols that glibc returns for hints without a socket type, in the order of glibc.
const SOCKETS: [(c_int, c_int); 3] = [(SOCK_STREAM, IPPROTO_TCP), (SOCK_DGRAM, IPPROTO_UDP), (SOCK_RAW, 0)];

#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) node: Cow<'a, str>,
    service: Option<Cow<'a, str>>,
    pub(crate) flags: c_int,
    pub(super) family: c_int,
    socket_type: c_int,
    protocol: c_int,
    pub(super) services: Services,
    /// Whether `node` is an IP address, or must be one (AI_NUMERICHOST). The system's `getaddrinfo` answers such a
    /// request, without a DNS query.
    numeric: bool,
}

/// The services of a request, one for each socket type. Most requests have at most three.
pub(super) type Services = SmallVec<[Service; 3]>;

/// The type and protocol of a socket, and the port of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Service {
    pub(super) socket_type: c_int,
    pub(super) protocol: c_int,
    pub(crate) port: u16,
}

impl Service {
    pub(crate) fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }
}

impl<'a> Request<'a> {
    /// Reads the arguments of a `getaddrinfo` call.
    ///
    /// # Safety
    ///
    /// The same as [`text`] for `node` and `service`. `hints` is NULL or valid.
    pub(crate) unsafe fn new(
        node: *const c_char,
        service: *const c_char,
        hints: *const addrinfo,
    ) -> Result<Self, Failure> {
        // SAFETY: the caller guarantees a valid text or NULL.
        let service = unsafe { optional_text(service, "service") }?;
        // SAFETY: the caller guarantees valid hints or NULL.
        let hints = unsafe { hints.as_ref() };
        if node.is_null() {
            let message = "node is NULL: call the system's getaddrinfo for addresses to listen on";
            return Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message).with_eai(libc::EAI_NONAME));
        }
        // SAFETY: the caller guarantees a valid text or NULL.
        let node = unsafe { text(node, "node") }.map_err(|failure| failure.with_eai(libc::EAI_NONAME))?;
        let mut request = Self {
            node: node.into(),
            service: service.map(Cow::from),
            // The default flags of glibc.
            flags: hints.map_or(AI_V4MAPPED | AI_ADDRCONFIG, |hints| hints.ai_flags),
            family: hints.map_or(AF_UNSPEC, |hints| hints.ai_family),
            socket_type: hints.map_or(0, |hints| hints.ai_socktype),
            protocol: hints.map_or(0, |hints| hints.ai_protocol),
            services: Services::new(),
            numeric: false,
        };
        request.numeric = request.is_numeric();
        if !request.numeric {
            request.check()?;
            request.services = request.sockets()?;
        }
        Ok(request)
    }

    /// Returns the answer of the system's `getaddrinfo` if the node is an IP address, or must be one (AI_NUMERICHOST).
    /// Returns `None` for all other requests.
    pub(crate) fn system(&self) -> Option<Result<Addresses, Failure>> {
        let hints = self.hints(self.flags | AI_NUMERICHOST, self.family);
        self.numeric.then(|| system::numeric(&self.node, self.service.as_deref(), &hints))
    }

    fn is_numeric(&self) -> bool {
        // A quick check, because most nodes are names: only a text that looks like an address is parsed.
        let may_be_address =
            self.node.ends_with(|last: char| last.is_ascii_digit()) || self.node.contains(':');
        // Rust does not parse an address with a zone (`fe80::1%eth0`).
        self.flags & AI_NUMERICHOST != 0
            || may_be_address && self.node.parse::<IpAddr>().is_ok()
            || self.node.contains('%')
    }

    /// Converts the request to one that owns its texts.
    pub(crate) fn into_owned(self) -> Request<'static> {
        let Self { node, service, flags, family, socket_type, protocol, services, numeric } = self;
        let (node, service) =
            (Cow::Owned(node.into_owned()), service.map(|text| Cow::Owned(text.into_owned())));
        Request { node, service, flags, family, socket_type, protocol, services, numeric }
    }

    /// Returns the service for stream sockets, or `None` if the hints exclude stream sockets. The port is 0 if the
    /// request names no service.
    pub(crate) fn stream(&self) -> Option<Service> {
        self.services.iter().copied().find(|service| service.socket_type == SOCK_STREAM)
    }

    pub(super) fn wants(&self, ip: IpAddr) -> bool {
        match self.family {
            AF_INET => ip.is_ipv4(),
            AF_INET6 => ip.is_ipv6(),
            _ => true,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        if self.node.len() > MAX_NAME {
            let message = format!("node has {} bytes: a DNS name has at most {MAX_NAME}", self.node.len());
            return Err(Failure::new(SIDESTEP_E_UNKNOWN_HOST, message));
        }
        let refused = |eai, what: &str| {
            Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, format!("hints: {what}")).with_eai(eai))
        };
        if self.flags & !FLAGS != 0 {
            return refused(libc::EAI_BADFLAGS, "ai_flags contains unsupported flags");
        }
        if ![AF_UNSPEC, AF_INET, AF_INET6].contains(&self.family) {
            return refused(libc::EAI_FAMILY, "ai_family must be AF_UNSPEC, AF_INET or AF_INET6");
        }
        Ok(())
    }

    fn sockets(&self) -> Result<Services, Failure> {
        let usual = |(socket_type, protocol): (c_int, c_int), port| {
            let fits = |wanted, is| wanted == 0 || wanted == is;
            let fits = fits(self.socket_type, socket_type) && fits(self.protocol, protocol);
            fits.then_some(Service { socket_type, protocol, port })
        };
        let port = match self.service.as_deref() {
            None => Some(0),
            Some(number) => {
                number.parse::<u16>().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
            }
        };
        let known: Option<Services> =
            port.map(|port| SOCKETS.into_iter().filter_map(|one| usual(one, port)).collect());
        match known {
            // glibc returns raw sockets only if the hints leave the type open, and rejects a port for SOCK_RAW.
            Some(known) if !known.is_empty() && self.socket_type != SOCK_RAW => Ok(known),
            // Service names and unusual hints are left to the system's function.
            _ => {
                let hints = self.hints(self.flags & AI_NUMERICSERV | AI_NUMERICHOST, AF_INET);
                let known = system::numeric("127.0.0.1", self.service.as_deref(), &hints)?;
                let services = known.entries.into_iter().map(|entry| Service {
                    socket_type: entry.socket_type,
                    protocol: entry.protocol,
                    port: entry.address.port(),
                });
                Ok(services.collect())
            }
        }
    }

    fn hints(&self, flags: c_int, family: c_int) -> addrinfo {
        addrinfo {
            ai_flags: flags,
            ai_family: family,
            ai_socktype: self.socket_type,
            ai_protocol: self.protocol,
            ai_addrlen: 0,
            ai_addr: std::ptr::null_mut(),
            ai_canonname: std::ptr::null_mut(),
            ai_next: std::ptr::null_mut(),
        }
    }
}
