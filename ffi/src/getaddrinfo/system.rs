//! The system's `getaddrinfo`, for what it answers by itself: literal addresses and services.

use std::{
    ffi::CStr,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    ptr,
};

use libc::{AF_INET, AF_INET6, addrinfo, sockaddr_in, sockaddr_in6};

use crate::{
    addresses::{Addresses, Entry},
    arguments::c_string,
    failure::Failure,
    status::SIDESTEP_INVALID_ARGUMENT,
};

/// `hints` have AI_NUMERICHOST: nobody is asked, only files are read.
pub(super) fn numeric(node: &str, service: Option<&str>, hints: &addrinfo) -> Result<Addresses, Failure> {
    let (c_node, c_service) = (c_string(node), service.map(c_string));
    let mut list = ptr::null_mut();
    // SAFETY: texts and hints live as long as the call, and the list goes where there is room for it.
    let code = unsafe {
        let service = c_service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
        libc::getaddrinfo(c_node.as_ptr(), service, hints, &raw mut list)
    };
    if code != 0 {
        // SAFETY: it returns a text that lives forever.
        let reason = unsafe { CStr::from_ptr(libc::gai_strerror(code)) }.to_string_lossy();
        let service = service.map_or_else(String::new, |service| format!(":{}", service.escape_debug()));
        let message = format!("{}{service}: {reason}", node.escape_debug());
        return Err(Failure::new(SIDESTEP_INVALID_ARGUMENT, message).with_eai(code));
    }
    let addresses = copied(list);
    // SAFETY: it is the system's own list, and nothing of it is kept.
    unsafe { libc::freeaddrinfo(list) };
    Ok(addresses)
}

fn copied(list: *const addrinfo) -> Addresses {
    let mut addresses = Addresses::default();
    // SAFETY: a list of the system's: each entry is NULL or valid until the list is freed.
    let mut next = unsafe { list.as_ref() };
    while let Some(info) = next {
        if let Some(address) = address(info) {
            let (socket_type, protocol) = (info.ai_socktype, info.ai_protocol);
            addresses.entries.push(Entry { address, socket_type, protocol });
        }
        if !info.ai_canonname.is_null() {
            // SAFETY: a text of the list's.
            let name = unsafe { CStr::from_ptr(info.ai_canonname) };
            addresses.canonical_name = Some(name.to_string_lossy().into_owned());
        }
        // SAFETY: as above.
        next = unsafe { info.ai_next.as_ref() };
    }
    addresses
}

fn address(info: &addrinfo) -> Option<SocketAddr> {
    match info.ai_family {
        AF_INET => {
            // SAFETY: an address of this family is one of these.
            let v4 = unsafe { info.ai_addr.cast::<sockaddr_in>().as_ref() }?;
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { info.ai_addr.cast::<sockaddr_in6>().as_ref() }?;
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}
