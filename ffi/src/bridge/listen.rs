//! Listeners for single services.

use std::{
    ffi::{CString, c_char},
    net::IpAddr,
};

use mesh_connector::bridge::LocalPort;

use super::{Bridging, sidestep_bridge};
use crate::{
    arguments::{Out, bytes_mut, text},
    border::call,
    connect::target,
    error::sidestep_error,
    failure::Failure,
    handle,
    status::{SIDESTEP_INVALID_ARGUMENT, sidestep_status},
};

/// The room that an address needs as a text, with its zero byte.
pub const SIDESTEP_ADDRESS_SIZE: usize = 46;

/// Listens on a Unix socket behind which a service is: for `CURLOPT_UNIX_SOCKET_PATH` and the like. The file belongs to the
/// bridge, which removes it at its end. `how` is a protocol.
///
/// Fails with `SIDESTEP_LISTEN`: somebody listens there, the path is too long, the folder is not there or not writable. Whether
/// the service is there is seen by who connects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_listen_unix(
    bridge: *const sidestep_bridge,
    path: *const c_char,
    host: *const c_char,
    port: u16,
    how: u32,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let bridging = handle::get::<Bridging>(bridge)?;
        // SAFETY: as the header says of texts.
        let (path, target) = unsafe { (text(path, "the path")?.to_owned(), target(host, port, how, 0)?) };
        let bridge = bridging.bridge.clone();
        bridging.member.runtime.wait(None, async move { bridge.listen_unix(path, &target).await })??;
        Ok(())
    })
}

/// Listens on a Unix socket as libpq expects it, `folder/.s.PGSQL.port`: for `host=folder port=port` of a connection string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_listen_postgres(
    bridge: *const sidestep_bridge,
    folder: *const c_char,
    host: *const c_char,
    port: u16,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let bridging = handle::get::<Bridging>(bridge)?;
        // SAFETY: as the header says of texts.
        let (folder, target) = unsafe { (text(folder, "the folder")?.to_owned(), target(host, port, 0, 0)?) };
        let bridge = bridging.bridge.clone();
        bridging
            .member
            .runtime
            .wait(None, async move { bridge.listen_postgres(folder, &target).await })??;
        Ok(())
    })
}

/// Listens on a loopback address of the service's own, out of 127.64.0.0/10, for clients that take an address. `*local_port`
/// says on which port: give 0 for one that the system chooses, or the service's own for clients that take the port from a
/// URL, which fails with `SIDESTEP_LISTEN` where another program has it; it becomes the one that is listened on. `address`
/// has room for `SIDESTEP_ADDRESS_SIZE` bytes. Asking again gives the same. `how` is a protocol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_listen_local(
    bridge: *const sidestep_bridge,
    host: *const c_char,
    port: u16,
    how: u32,
    address: *mut c_char,
    local_port: *mut u16,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let bridging = handle::get::<Bridging>(bridge)?;
        // SAFETY: as the header says of texts.
        let target = unsafe { target(host, port, how, 0) }?;
        // SAFETY: as the header says of outputs; the program has written it.
        let wanted = unsafe { local_port.as_ref() }.copied().unwrap_or_default();
        // SAFETY: as the header says of outputs.
        let local_port = unsafe { Out::required(local_port, wanted, "local_port") }?;
        // SAFETY: as the header says, there is room for so many bytes.
        let place = unsafe { bytes_mut(address.cast(), SIDESTEP_ADDRESS_SIZE) }?;
        let kind = match wanted {
            0 => LocalPort::Any,
            wanted if wanted == port => LocalPort::Real,
            _ => {
                let message = format!("local_port is {wanted}: give 0, or the service's own, {port}");
                return Err(Failure::new(SIDESTEP_INVALID_ARGUMENT, message));
            }
        };
        let bridge = bridging.bridge.clone();
        let listening = async move { bridge.listen_local(&target, kind).await };
        let bound = bridging.member.runtime.wait(None, listening)??;
        for (place, byte) in place.iter_mut().zip(as_text(bound.ip()).as_bytes_with_nul()) {
            place.write(*byte);
        }
        local_port.set(bound.port());
        Ok(())
    })
}

fn as_text(ip: IpAddr) -> CString {
    crate::arguments::c_string(&ip.to_string())
}
