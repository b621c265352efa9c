//! The functions that start operations of a bridge without blocking.

use std::ffi::{c_char, c_void};

use libc::addrinfo;

use super::{sidestep_queue, start::start_operation};
use crate::{
    addresses::{Addresses, Entry},
    arguments::text,
    bridge::{
        BridgeObject,
        listen::{listening_local, listening_postgres, listening_unix},
        resolve::resolving,
        sidestep_bridge, starting,
    },
    completion::{OperationKind, Value},
    connect::target,
    error::sidestep_error,
    getaddrinfo::Request,
    handle,
    mesh::Member,
    status::sidestep_status,
};

/// The non-blocking form of `sidestep_bridge_start` for the mesh of the queue. The completion contains the bridge.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_bridge_start(
    queue: *mut sidestep_queue,
    access: i32,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let start = |member: &Member| {
        let starting = starting(member, access)?;
        Ok(async move { Ok(Value::Bridge(Box::new(starting.await?))) })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, start) }
}

/// The non-blocking form of `sidestep_bridge_getaddrinfo`. The completion contains the list. The mesh of the queue may
/// differ from the mesh of the bridge.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_bridge_getaddrinfo(
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
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?.into_owned();
        let flags = request.flags;
        let (immediate, resolving) = (request.system(), resolving(&bridge, request));
        Ok(async move {
            let found = match immediate {
                Some(answer) => answer?,
                None => resolving.await?,
            };
            Ok(Value::Addresses { found, flags })
        })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Resolution, look_up) }
}

/// The non-blocking form of `sidestep_bridge_listen_unix`. The mesh of the queue may differ from the mesh of the
/// bridge.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_bridge_listen_unix(
    queue: *mut sidestep_queue,
    bridge: *const sidestep_bridge,
    path: *const c_char,
    host: *const c_char,
    port: u16,
    flags: u32,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let listen = |_: &_| {
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts.
        let (path, target) = unsafe { (text(path, "path")?, target(host, port, flags, 0)?) };
        let listening = listening_unix(&bridge, path, target);
        Ok(async move { listening.await.map(|()| Value::Nothing) })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, listen) }
}

/// The non-blocking form of `sidestep_bridge_listen_postgres`: `queue` receives the completion. `queue` and `bridge` may
/// belong to different meshes.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_bridge_listen_postgres(
    queue: *mut sidestep_queue,
    bridge: *const sidestep_bridge,
    folder: *const c_char,
    host: *const c_char,
    port: u16,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let listen = |_: &_| {
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts.
        let (folder, target) = unsafe { (text(folder, "folder")?, target(host, port, 0, 0)?) };
        let listening = listening_postgres(&bridge, folder, target);
        Ok(async move { listening.await.map(|()| Value::Nothing) })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, listen) }
}

/// The non-blocking form of `sidestep_bridge_listen_local`. `local_port` is 0 for a port that the system chooses, or
/// equal to `port`. The `addresses` of the completion are a list with one entry: the address and the port of the
/// listener. The mesh of the queue may differ from the mesh of the bridge.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_bridge_listen_local(
    queue: *mut sidestep_queue,
    bridge: *const sidestep_bridge,
    host: *const c_char,
    port: u16,
    flags: u32,
    local_port: u16,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let listen = |_: &_| {
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts.
        let target = unsafe { target(host, port, flags, 0) }?;
        let listening = listening_local(&bridge, target, local_port)?;
        Ok(async move {
            let entry = Entry::tcp(listening.await?);
            let found = Addresses { entries: [entry].into_iter().collect(), canonical_name: None };
            Ok(Value::Addresses { found, flags: 0 })
        })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, listen) }
}
