//! Names to addresses, as the system's `getaddrinfo` gives them.

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
    border::outcome,
    error::sidestep_error,
    failure::{Failure, guarded},
    handle,
    mesh::{Member, sidestep_mesh},
    status::SIDESTEP_NO_ADDRESS,
};

/// The system's `getaddrinfo`, with the mesh's names: short ones (`forecast.weather`) too, which the mesh answers at once
/// and without a system call. Other names are upstream DNS's. A literal address, and what AI_NUMERICHOST asks for, is the
/// system's own answer.
///
/// Returns 0 or one of the system's EAI_ codes, for `gai_strerror`; `err` says more. `errno` stays as it is. The list is
/// freed by `sidestep_freeaddrinfo`.
///
/// Names and numbers of services, families, socket types, protocols, AI_CANONNAME, AI_NUMERICHOST, AI_NUMERICSERV,
/// AI_V4MAPPED and AI_ALL are as with the system's; AI_ADDRCONFIG changes nothing. A `node` of NULL (addresses to listen on,
/// with AI_PASSIVE) is none of the mesh's business: EAI_NONAME, ask the system.
///
/// The addresses of a mesh name are the mesh's own (ClusterIPs and virtual ones): pass them, or better the name, to
/// `sidestep_connect`; dialled by the program itself they lead nowhere from outside of the cluster's network
/// (`sidestep_bridge_getaddrinfo` gives such as do). Before istiod has sent its names, this waits for them a while.
///
/// EAI_NONAME: nobody knows the name; EAI_NODATA: it has no address of the family; EAI_AGAIN: upstream DNS failed or took too
/// long, or istiod has sent no names yet; EAI_SERVICE, EAI_SOCKTYPE, EAI_FAMILY, EAI_BADFLAGS: as with the system's; EAI_FAIL:
/// everything else, such as a handle that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_getaddrinfo(
    mesh: *const sidestep_mesh,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    list: *mut *mut addrinfo,
    err: *mut *mut sidestep_error,
) -> c_int {
    // SAFETY: as the header says of outputs and errors.
    let (list, err) = unsafe { (Out::required(list, ptr::null_mut(), "list"), Out::error(err)) };
    answering(list, err, || {
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: as the header says of texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?;
        let flags = request.flags;
        let found = match request.system() {
            Some(answer) => answer?,
            None => asked(&member, request)?,
        };
        Ok((found, flags))
    })
}

/// Answers as the system's function does: with a list of what was found, and the flags that it was asked with.
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

fn asked(member: &Member, request: Request<'_>) -> Result<Addresses, Failure> {
    let resolver = member.mesh.raw_resolver();
    // What the table knows needs nobody to be asked, and no other thread.
    let at_once = || resolver.try_lookup_ip(&request.node);
    match metrics::with_local_recorder(&*member.reports.counted, at_once) {
        Some(found) => found_addresses(&request, &found),
        None => {
            let (resolver, request) = (resolver.clone(), request.into_owned());
            member.runtime.wait(None, async move { ask(&resolver, &request).await })?
        }
    }
}

pub(crate) async fn ask(resolver: &MeshResolver, request: &Request<'_>) -> Result<Addresses, Failure> {
    let found = resolver.lookup_ip(&request.node).await?;
    found_addresses(request, &found)
}

fn found_addresses(request: &Request<'_>, found: &Lookup) -> Result<Addresses, Failure> {
    answer(request, found.addresses(), found.canonical_name(), &request.services)
}

/// What was found, as it was asked for.
pub(crate) fn answer(
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
        return Err(Failure::new(SIDESTEP_NO_ADDRESS, message));
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
