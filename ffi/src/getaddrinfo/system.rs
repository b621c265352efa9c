//! Calls of the system's `getaddrinfo` that need no DNS query: IP addresses and service names.

use std::{
    ffi::CStr,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    ptr,
};

use libc::{AF_INET, AF_INET6, addrinfo, sockaddr_in, sockaddr_in6};

use crate::{
    addresses::{Addresses, Entry},
    arguments::c_string,
    failure::Failure,
    status::SIDESTEP_E_INVALID_ARGUMENT,
};

/// Calls the system's `getaddrinfo`. `hints` contains AI_NUMERICHOST, so the call sends no query; it may read /etc/services.
pub(super) fn numeric(node: &str, service: Option<&str>, hints: &addrinfo) -> Result<Addresses, Failure> {
    let (c_node, c_service) = (c_string(node), service.map(c_string));
    let mut list = ptr::null_mut();
    // SAFETY: the texts and hints are valid during the call, and `list` is a valid output.
    let code = unsafe {
        let service = c_service.as_ref().map_or(ptr::null(), |service| service.as_ptr());
        libc::getaddrinfo(c_node.as_ptr(), service, hints, &raw mut list)
    };
    if code != 0 {
        // The code EAI_SYSTEM means that errno has the reason. No function of this library reports a failure in errno.
        let system = (code == libc::EAI_SYSTEM).then(io::Error::last_os_error);
        // SAFETY: `gai_strerror` returns a constant text.
        let reason = unsafe { CStr::from_ptr(libc::gai_strerror(code)) }.to_string_lossy();
        let service = service.map_or_else(String::new, |service| format!(":{}", service.escape_debug()));
        let what = format!("{}{service}: {reason}", node.escape_debug());
        return Err(match system {
            Some(error) => Failure::of_system(&what, &error),
            None => Failure::new(SIDESTEP_E_INVALID_ARGUMENT, what).with_eai(code),
        });
    }
    let addresses = copied(list);
    // SAFETY: the system's function allocated the list, and no pointer into it is used afterwards.
    unsafe { libc::freeaddrinfo(list) };
    Ok(addresses)
}

fn copied(list: *const addrinfo) -> Addresses {
    let mut addresses = Addresses::default();
    // SAFETY: each pointer of the system's list is NULL, or valid until the list is freed.
    let mut next = unsafe { list.as_ref() };
    while let Some(info) = next {
        if let Some(address) = address(info) {
            let (socket_type, protocol) = (info.ai_socktype, info.ai_protocol);
            addresses.entries.push(Entry { address, socket_type, protocol });
        }
        if !info.ai_canonname.is_null() {
            // SAFETY: the text is part of the list and terminated.
            let name = unsafe { CStr::from_ptr(info.ai_canonname) };
            addresses.canonical_name = Some(name.to_string_lossy().into_owned());
        }
        // SAFETY: the pointer is NULL, or valid until the list is freed.
        next = unsafe { info.ai_next.as_ref() };
    }
    addresses
}

fn address(info: &addrinfo) -> Option<SocketAddr> {
    match info.ai_family {
        AF_INET => {
            // SAFETY: an entry of the family AF_INET points to a `sockaddr_in`.
            let v4 = unsafe { info.ai_addr.cast::<sockaddr_in>().as_ref() }?;
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        AF_INET6 => {
            // SAFETY: an entry of the family AF_INET6 points to a `sockaddr_in6`.
            let v6 = unsafe { info.ai_addr.cast::<sockaddr_in6>().as_ref() }?;
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}
