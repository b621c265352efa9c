//! `sidestep_getaddrinfo`: name resolution in the form of the system's `getaddrinfo`.

mod request;
mod system;

use std::{
    ffi::c_char,
    net::{IpAddr, SocketAddr},
    ptr,
};

use libc::{AF_INET, AF_INET6, AI_ALL, AI_CANONNAME, AI_V4MAPPED, addrinfo, c_int};
use mesh_resolver::{Lookup, MeshResolver};
use smallvec::SmallVec;

pub(crate) use self::request::Request;
use self::request::Service;
use crate::{
    addresses::{Addresses, Entry},
    arguments::Out,
    boundary::outcome,
    error::sidestep_error,
    failure::{Failure, guarded},
    handle,
    mesh::{Member, sidestep_mesh},
    status::SIDESTEP_E_NO_ADDRESS,
};

/// Resolves names as the system's `getaddrinfo` does, including mesh names. Short mesh names such as `forecast.weather`
/// are completed to full names. A mesh name is answered from the name table, without blocking and without a system
/// call. Other names are resolved by upstream DNS. IP addresses, and all requests with AI_NUMERICHOST, are answered by
/// the system's function.
///
/// Returns 0, or an EAI_ code for `gai_strerror`; `err` contains details. Free the list with `sidestep_freeaddrinfo`.
///
/// Service names and numbers, families, socket types, protocols, AI_CANONNAME, AI_NUMERICHOST, AI_NUMERICSERV, AI_V4MAPPED and
/// AI_ALL have the same effect as in the system's function. AI_ADDRCONFIG has no effect. `node` must not be NULL: call the
/// system's function for addresses to listen on (AI_PASSIVE).
///
/// Do not connect to the address of a mesh name with `connect`. It is a ClusterIP or a virtual IP, which is not routable from
/// outside the cluster; where it is routable, the connection bypasses the mesh in plaintext. Pass the name to
/// `sidestep_connect`, or use `sidestep_bridge_getaddrinfo`, whose addresses accept connections.
///
/// If istiod has not sent the name table yet, the call waits for the table for a limited time.
///
/// code                                                | reason
/// ----------------------------------------------------|------------------------------------------------------------------
/// EAI_NONAME                                          | the name does not exist, or `node` is NULL
/// EAI_NODATA                                          | the name has no address of the requested family
/// EAI_AGAIN                                           | upstream DNS failed or timed out, or istiod has sent no name table
/// EAI_SERVICE, EAI_SOCKTYPE, EAI_FAMILY, EAI_BADFLAGS | the same as in the system's function
/// EAI_FAIL                                            | any other failure, such as an invalid handle
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_getaddrinfo(
    mesh: *const sidestep_mesh,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    list: *mut *mut addrinfo,
    err: *mut *mut sidestep_error,
) -> c_int {
    // SAFETY: the header requires valid outputs.
    let (list, err) = unsafe { (Out::required(list, ptr::null_mut(), "list"), Out::error(err)) };
    answering(list, err, || {
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: the header requires valid texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?;
        let flags = request.flags;
        let found = match request.system() {
            Some(answer) => answer?,
            None => resolve_blocking(&member, request)?,
        };
        Ok((found, flags))
    })
}

/// Runs `look_up`, which returns the addresses and the flags of the request. Stores the addresses in `list` if the
/// lookup succeeds. Returns 0, or an EAI_ code if the lookup fails.
pub(crate) fn answering(
    list: Result<Out<'_, *mut addrinfo>, Failure>,
    err: Option<Out<'_, *mut sidestep_error>>,
    look_up: impl FnOnce() -> Result<(Addresses, c_int), Failure>,
) -> c_int {
    let answered = guarded(|| {
        let list = list?;
        let (found, flags) = look_up()?;
        list.set(found.into_list(flags));
        Ok(())
    });
    outcome(err, answered).map_or_else(|failed| failed.eai, |()| 0)
}

fn resolve_blocking(member: &Member, request: Request<'_>) -> Result<Addresses, Failure> {
    let resolver = member.mesh.raw_resolver();
    // A name in the name table is resolved on this thread.
    let from_table = || resolver.try_lookup_ip(&request.node);
    match metrics::with_local_recorder(&*member.reports.recorder, from_table) {
        Some(found) => addresses_of(&request, &found),
        None => {
            let (resolver, request) = (resolver.clone(), request.into_owned());
            member.runtime.wait(None, async move { resolve(&resolver, &request).await })?
        }
    }
}

pub(crate) async fn resolve(resolver: &MeshResolver, request: &Request<'_>) -> Result<Addresses, Failure> {
    let found = resolver.lookup_ip(&request.node).await?;
    addresses_of(request, &found)
}

/// Returns the entries that a request asks for, from the result of a lookup.
pub(crate) fn addresses_of(request: &Request<'_>, found: &Lookup) -> Result<Addresses, Failure> {
    addresses_for(request, found.addresses(), found.canonical_name(), &request.services)
}

/// Returns the entries that a request asks for: each address of the requested family, combined with each of `services`.
/// `name` is the canonical name.
pub(crate) fn addresses_for(
    request: &Request<'_>,
    found: &[IpAddr],
    name: &str,
    services: &[Service],
) -> Result<Addresses, Failure> {
    let mut ips: SmallVec<[IpAddr; 8]> = found.iter().copied().filter(|ip| request.wants(*ip)).collect();
    let mapping = request.family == AF_INET6 && request.flags & AI_V4MAPPED != 0;
    if mapping && (ips.is_empty() || request.flags & AI_ALL != 0) {
        ips.extend(found.iter().filter_map(|ip| match ip {
            IpAddr::V4(v4) => Some(IpAddr::V6(v4.to_ipv6_mapped())),
            IpAddr::V6(_) => None,
        }));
    }
    if ips.is_empty() {
        let family = if request.family == AF_INET { "IPv4" } else { "IPv6" };
        let message = format!("{} has no {family} address", request.node.escape_debug());
        return Err(Failure::new(SIDESTEP_E_NO_ADDRESS, message));
    }
    let entries = ips.into_iter().flat_map(|ip| {
        services.iter().map(move |service| Entry {
            address: SocketAddr::new(ip, service.port),
            socket_type: service.socket_type,
            protocol: service.protocol,
        })
    });
    let wants_name = request.flags & AI_CANONNAME != 0;
    Ok(Addresses { entries: entries.collect(), canonical_name: wants_name.then(|| name.to_owned()) })
}
