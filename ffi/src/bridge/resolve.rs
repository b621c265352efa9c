//! Name resolution to loopback addresses on which the bridge listens.

use std::{ffi::c_char, ptr};

use libc::{addrinfo, c_int};
use mesh_connector::Target;

use super::{BridgeObject, sidestep_bridge};
use crate::{
    addresses::Addresses,
    arguments::Out,
    error::sidestep_error,
    failure::Failure,
    getaddrinfo::{Request, addresses_for, addresses_of, answering},
    handle,
    status::SIDESTEP_E_INVALID_ARGUMENT,
};

/// Resolves names as `sidestep_getaddrinfo` does, for programs that pass the returned addresses to `connect`. A mesh
/// name resolves to a loopback address and a port on which the bridge listens; the bridge forwards the connections to
/// the service. Other names are resolved by upstream DNS, and an IP address resolves to itself.
///
/// For a mesh name, `service` is required, and must be a port of the mesh service. If `service` is NULL or names
/// another port, the function returns EAI_SERVICE. The addresses of a mesh name are IPv4 addresses for stream sockets,
/// and stay the same until the bridge is freed.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_getaddrinfo(
    bridge: *const sidestep_bridge,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    list: *mut *mut addrinfo,
    err: *mut *mut sidestep_error,
) -> c_int {
    // SAFETY: the header requires valid outputs.
    let (list, err) = unsafe { (Out::required(list, ptr::null_mut(), "list"), Out::error(err)) };
    answering(list, err, || {
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?.into_owned();
        let flags = request.flags;
        let found = match request.system() {
            Some(answer) => answer?,
            None => bridge.member.runtime.wait(None, resolving(&bridge, request))??,
        };
        Ok((found, flags))
    })
}

/// Returns a future that resolves the name in `request`. The future does not hold a reference to the `BridgeObject`,
/// because it runs on threads that the `BridgeObject` keeps alive.
pub(crate) fn resolving(
    bridge: &BridgeObject,
    request: Request<'static>,
) -> impl Future<Output = Result<Addresses, Failure>> + Send + use<> {
    let (bridge, resolver) = (bridge.bridge.clone(), bridge.member.mesh.raw_resolver().clone());
    async move {
        let stream = request.stream();
        let port = stream.map_or(0, |stream| stream.port);
        let is_external = match Target::new(&request.node, port) {
            // The port is 0, because the request has no service. That is an error only for a mesh name.
            Err(_) => resolver.canonical_name(&request.node).is_none(),
            Ok(target) => match bridge.local_address(&target).await? {
                None => true,
                Some(address) => {
                    let service = stream.map(|stream| stream.with_port(address.port()));
                    let name = resolver
                        .canonical_name(&request.node)
                        .unwrap_or_else(|| request.node.clone().into_owned());
                    return addresses_for(&request, &[address.ip()], &name, service.as_slice());
                }
            },
        };
        if is_external {
            let found = resolver.lookup_ip(&request.node).await?;
            // The name may have become a mesh name meanwhile. The addresses in the name table bypass the mesh.
            if found.mesh_name().is_none() {
                return addresses_of(&request, &found);
            }
        }
        let (eai, what) = match stream {
            None => (libc::EAI_SOCKTYPE, "only stream sockets can connect to a bridge"),
            Some(_) => (libc::EAI_SERVICE, "pass a port of this mesh service as `service`"),
        };
        let message = format!("{}: {what}", request.node.escape_debug());
        Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message).with_eai(eai))
    }
}
