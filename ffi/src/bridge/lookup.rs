//! Names to addresses of this host behind which the mesh is.

use std::{
    ffi::{c_char, c_void},
    ptr,
};

use libc::{addrinfo, c_int};
use mesh_connector::Target;

use super::{Bridging, sidestep_bridge};
use crate::{
    addresses::Addresses,
    arguments::Out,
    completion::Value,
    error::sidestep_error,
    failure::Failure,
    getaddrinfo::{Request, answer, answering, ask},
    handle,
    mesh::Member,
    queue::{sidestep_queue, start::starting},
    status::{SIDESTEP_INVALID_ARGUMENT, sidestep_status},
};

/// `sidestep_getaddrinfo` for programs that `connect` to what it gives: a name of the mesh has an address of this host and a
/// port that the system chose, and what is connected there goes through the bridge. Other names are upstream DNS's, literal
/// addresses the system's.
///
/// `service` has to be there, and is the service's own port: EAI_SERVICE where the mesh's service does not have it, or where
/// there is none. Such addresses are IPv4, for streams; they stay as they are as long as the bridge lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_getaddrinfo(
    bridge: *const sidestep_bridge,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    list: *mut *mut addrinfo,
    err: *mut *mut sidestep_error,
) -> c_int {
    // SAFETY: as the header says of outputs and errors.
    let (list, err) = unsafe { (Out::required(list, ptr::null_mut(), "list"), Out::error(err)) };
    answering(list, err, || {
        let bridging = handle::get::<Bridging>(bridge)?;
        // SAFETY: as the header says of texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?.into_owned();
        let flags = request.flags;
        let found = match request.system() {
            Some(answer) => answer?,
            None => bridging.member.runtime.wait(None, listening(&bridging, request))??,
        };
        Ok((found, flags))
    })
}

/// `sidestep_bridge_getaddrinfo` through a queue, which may be another mesh's: the completion has the list. What is wrong with
/// the arguments is told at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_start_bridge_getaddrinfo(
    queue: *mut sidestep_queue,
    bridge: *const sidestep_bridge,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let look_up = |_: &Member| {
        let bridging = handle::get::<Bridging>(bridge)?;
        // SAFETY: as the header says of texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?.into_owned();
        let flags = request.flags;
        let (at_once, later) = (request.system(), listening(&bridging, request));
        Ok(async move {
            let found = match at_once {
                Some(answer) => answer?,
                None => later.await?,
            };
            Ok(Value::Addresses { found, flags })
        })
    };
    // SAFETY: as the header says of outputs and errors.
    unsafe { starting(queue, user_data, operation, err, look_up) }
}

/// What it needs is taken before, so that the mesh's threads do not keep the mesh.
fn listening(
    bridging: &Bridging,
    request: Request<'static>,
) -> impl Future<Output = Result<Addresses, Failure>> + Send + use<> {
    let (bridge, resolver) = (bridging.bridge.clone(), bridging.member.mesh.raw_resolver().clone());
    async move {
        let stream = request.stream();
        let port = stream.map_or(0, |stream| stream.port);
        let outside = match Target::new(&request.node, port) {
            // No port 0 can be asked for; who has the name says whether one has to be.
            Err(_) => resolver.canonical_name(&request.node).is_none(),
            Ok(target) => match bridge.local_address(&target).await? {
                None => true,
                Some(address) => {
                    let service = stream.map(|stream| stream.at(address.port()));
                    let name = resolver
                        .canonical_name(&request.node)
                        .unwrap_or_else(|| request.node.clone().into_owned());
                    return answer(&request, &[address.ip()], &name, service.as_slice());
                }
            },
        };
        if outside {
            return ask(&resolver, &request).await;
        }
        let (eai, what) = match stream {
            None => (libc::EAI_SOCKTYPE, "is for streams alone"),
            Some(_) => (libc::EAI_SERVICE, "is of one of its ports: pass the service"),
        };
        let message = format!("{}: an address of the bridge {what}", request.node.escape_debug());
        Err(Failure::new(SIDESTEP_INVALID_ARGUMENT, message).with_eai(eai))
    }
}
