//! Builds and frees lists of `struct addrinfo`, the results of name resolutions.

use std::{
    ffi::{CString, c_char},
    mem::size_of,
    net::SocketAddr,
    ptr,
};

use libc::{
    AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, addrinfo, c_int, in_addr, in6_addr, sa_family_t,
    sockaddr_in, sockaddr_in6, socklen_t,
};

use smallvec::SmallVec;

use crate::arguments::c_string;

/// The entries from which a `struct addrinfo` list is built.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Addresses {
    pub(crate) entries: SmallVec<[Entry; 4]>,
    pub(crate) canonical_name: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) address: SocketAddr,
    pub(crate) socket_type: c_int,
    pub(crate) protocol: c_int,
}

/// A node of a `struct addrinfo` list: the `addrinfo` and its socket address in one allocation. The program has a
/// pointer to the first field, `info`.
#[repr(C)]
struct Node {
    info: addrinfo,
    address: Address,
}

#[repr(C)]
union Address {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}

impl Entry {
    /// Returns the entry for a TCP socket with this address.
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Self { address, socket_type: SOCK_STREAM, protocol: IPPROTO_TCP }
    }
}

impl Addresses {
    /// Allocates a `struct addrinfo` list of the entries, with `flags` as the `ai_flags` of each. Returns NULL if there
    /// are no entries.
    pub(crate) fn into_list(self, flags: c_int) -> *mut addrinfo {
        let mut next = ptr::null_mut();
        for (index, entry) in self.entries.iter().enumerate().rev() {
            let name = self.canonical_name.as_deref().filter(|_| index == 0);
            next = node(*entry, name, flags, next);
        }
        next
    }
}

fn node(entry: Entry, name: Option<&str>, flags: c_int, next: *mut addrinfo) -> *mut addrinfo {
    let (family, length, address) = match entry.address {
        SocketAddr::V4(v4) => {
            let address = sockaddr_in {
                sin_family: family(AF_INET),
                sin_port: v4.port().to_be(),
                sin_addr: in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            (AF_INET, size_of::<sockaddr_in>(), Address { v4: address })
        }
        SocketAddr::V6(v6) => {
            let address = sockaddr_in6 {
                sin6_family: family(AF_INET6),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (AF_INET6, size_of::<sockaddr_in6>(), Address { v6: address })
        }
    };
    let info = addrinfo {
        ai_flags: flags,
        ai_family: family,
        ai_socktype: entry.socket_type,
        ai_protocol: entry.protocol,
        ai_addrlen: socklen_t::try_from(length).unwrap_or_default(),
        ai_addr: ptr::null_mut(),
        ai_canonname: name.map_or(ptr::null_mut(), |name| c_string(name).into_raw()),
        ai_next: next,
    };
    let node = Box::into_raw(Box::new(Node { info, address }));
    // SAFETY: `node` was allocated in the line above, and no other pointer to it exists.
    unsafe { (*node).info.ai_addr = (&raw mut (*node).address).cast() };
    node.cast()
}

fn family(family: c_int) -> sa_family_t {
    sa_family_t::try_from(family).unwrap_or_default()
}

/// Frees a `struct addrinfo` list that `sidestep_getaddrinfo` or `sidestep_bridge_getaddrinfo` returned, or that a
/// completion contains. Lists of the system's `getaddrinfo` must not be passed. Does nothing if `list` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_freeaddrinfo(list: *mut addrinfo) {
    let mut next = list;
    while !next.is_null() {
        // SAFETY: the header requires a list of this library, which consists of such nodes, and that it is freed only once.
        let node = unsafe { Box::from_raw(next.cast::<Node>()) };
        let name: *mut c_char = node.info.ai_canonname;
        if !name.is_null() {
            // SAFETY: the name was created by `CString::into_raw` in `node`.
            drop(unsafe { CString::from_raw(name) });
        }
        next = node.info.ai_next;
    }
}
