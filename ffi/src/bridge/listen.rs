//! The functions that add a listener for one service to a bridge.

use std::{ffi::c_char, net::SocketAddr};

use mesh_connector::{Target, bridge::LocalPort};

use super::{BridgeObject, sidestep_bridge};
use crate::{
    arguments::{Out, bytes_mut, c_string, text},
    boundary::call,
    connect::target,
    error::sidestep_error,
    failure::Failure,
    handle,
    status::{SIDESTEP_E_INVALID_ARGUMENT, sidestep_status},
};

/// The size of a buffer for the text of an IP address, including the zero byte.
pub const SIDESTEP_ADDRESS_SIZE: usize = 46;

/// Listens on a Unix socket at `path`, and forwards its connections to `port` of the service `host`, for clients with
/// an option such as `CURLOPT_UNIX_SOCKET_PATH`. The bridge owns the socket file, and removes the file when the bridge
/// is freed. `flags` is the protocol of the connections: `SIDESTEP_PROTOCOL_TCP` (0), `SIDESTEP_PROTOCOL_HTTP1` or
/// `SIDESTEP_PROTOCOL_HTTP2`.
///
/// Fails with `SIDESTEP_E_LISTEN` if another program listens on the path, if the path is too long, or if the directory
/// of the path does not exist or is not writable. The function does not check whether the service exists; clients see
/// an unknown service as a closed connection.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_listen_unix(
    bridge: *const sidestep_bridge,
    path: *const c_char,
    host: *const c_char,
    port: u16,
    flags: u32,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts.
        let (path, target) = unsafe { (text(path, "path")?, target(host, port, flags, 0)?) };
        bridge.member.runtime.wait(None, listening_unix(&bridge, path, target))?
    })
}

/// Listens on the Unix socket that libpq expects, `folder/.s.PGSQL.port`, and forwards its connections to `port` of the
/// PostgreSQL service `host`. Clients use the connection string `host=folder port=port`.
///
/// Fails as `sidestep_bridge_listen_unix` does.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_listen_postgres(
    bridge: *const sidestep_bridge,
    folder: *const c_char,
    host: *const c_char,
    port: u16,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts.
        let (folder, target) = unsafe { (text(folder, "folder")?, target(host, port, 0, 0)?) };
        bridge.member.runtime.wait(None, listening_postgres(&bridge, folder, target))?
    })
}

/// Listens on a loopback address in 127.64.0.0/10 that the bridge uses only for the service `host`, and forwards the
/// connections to `port` of that service. This is for clients that accept only an IP address and a port. `flags` is the
/// protocol of the connections: `SIDESTEP_PROTOCOL_TCP` (0), `SIDESTEP_PROTOCOL_HTTP1` or `SIDESTEP_PROTOCOL_HTTP2`.
///
/// `*local_port` selects the port of the listener: 0 for a port that the system chooses, or `port` for clients that
/// take the port from a URL. The function stores the port of the listener in `*local_port`, and the loopback address as
/// a text in `address`, a buffer of `SIDESTEP_ADDRESS_SIZE` bytes. A second call with the same arguments returns the
/// same listener.
///
/// Fails with `SIDESTEP_E_LISTEN` if another program uses the port.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_listen_local(
    bridge: *const sidestep_bridge,
    host: *const c_char,
    port: u16,
    flags: u32,
    address: *mut c_char,
    local_port: *mut u16,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let bridge = handle::get::<BridgeObject>(bridge)?;
        // SAFETY: the header requires valid texts.
        let target = unsafe { target(host, port, flags, 0) }?;
        // SAFETY: the header requires a valid pointer to an initialised port.
        let requested = unsafe { local_port.as_ref() }.copied().unwrap_or_default();
        // SAFETY: the header requires valid outputs.
        let local_port = unsafe { Out::required(local_port, requested, "local_port") }?;
        // SAFETY: the header requires a buffer of this size.
        let buffer = unsafe { bytes_mut(address.cast(), SIDESTEP_ADDRESS_SIZE) }?;
        let listening = listening_local(&bridge, target, requested)?;
        let listener = bridge.member.runtime.wait(None, listening)??;
        let text = c_string(&listener.ip().to_string());
        for (place, byte) in buffer.iter_mut().zip(text.as_bytes_with_nul()) {
            place.write(*byte);
        }
        local_port.set(listener.port());
        Ok(())
    })
}

// The futures of the following functions run on the mesh's threads. They hold the `Bridge`, but not the `BridgeObject`,
// which owns these threads.

pub(crate) fn listening_unix(
    bridge: &BridgeObject,
    path: &str,
    target: Target,
) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
    let (bridge, path) = (bridge.bridge.clone(), path.to_owned());
    async move { Ok(bridge.listen_unix(path, &target).await?) }
}

pub(crate) fn listening_postgres(
    bridge: &BridgeObject,
    folder: &str,
    target: Target,
) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
    let (bridge, folder) = (bridge.bridge.clone(), folder.to_owned());
    async move {
        bridge.listen_postgres(folder, &target).await?;
        Ok(())
    }
}

pub(crate) fn listening_local(
    bridge: &BridgeObject,
    target: Target,
    local_port: u16,
) -> Result<impl Future<Output = Result<SocketAddr, Failure>> + Send + use<>, Failure> {
    let kind = match local_port {
        0 => LocalPort::Any,
        port if port == target.port() => LocalPort::Real,
        port => {
            let message = format!("local_port is {port}: pass 0, or the service's port {}", target.port());
            return Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message));
        }
    };
    let bridge = bridge.bridge.clone();
    Ok(async move { Ok(bridge.listen_local(&target, kind).await?) })
}
