//! The bridge: for clients that accept neither a resolver nor a descriptor.

pub mod listen;
pub mod lookup;

use std::{
    ffi::{CString, c_char},
    ptr,
    sync::Arc,
};

use mesh_connector::bridge::{Access, Bridge};

use crate::{
    arguments::{Out, c_string, pointer},
    border::call,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_INVALID_ARGUMENT, sidestep_status},
};

/// Listeners of this process behind which the mesh is. Any thread may use it.
#[derive(Debug)]
pub struct sidestep_bridge(());

/// The bridge serves this process' own connections, and whoever has its password.
pub const SIDESTEP_ACCESS_SAME_PROCESS: i32 = 0;
/// The bridge serves connections of processes of the same user.
pub const SIDESTEP_ACCESS_SAME_USER: i32 = 1;
/// The bridge serves everybody on this host, with this process' identity.
pub const SIDESTEP_ACCESS_ANY: i32 = 2;

pub(crate) struct Bridging {
    // Before the mesh, and so its threads.
    pub(crate) bridge: Arc<Bridge>,
    socks_url: CString,
    http_url: CString,
    pub(crate) member: Arc<Member>,
}

impl Kind for Bridging {
    type C = sidestep_bridge;
    const TAG: u8 = 8;
    const NAME: &'static str = "sidestep_bridge";
}

/// Starts a proxy (SOCKS5 and HTTP) on a port of loopback, for clients that take nothing else; Unix sockets and loopback
/// addresses for single services are added afterwards. `access` is one of `SIDESTEP_ACCESS_…`: whom it serves without the
/// password that is in its URLs.
///
/// Fails with `SIDESTEP_LISTEN` where there is no port, and with `SIDESTEP_CLOSED` after `sidestep_shutdown`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_start(
    mesh: *const sidestep_mesh,
    access: i32,
    bridge: *mut *mut sidestep_bridge,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (bridge, err) = unsafe { (Out::required(bridge, ptr::null_mut(), "bridge"), Out::error(err)) };
    call(err, || {
        let place = bridge?;
        let member = handle::get::<Member>(mesh)?;
        let access = match access {
            SIDESTEP_ACCESS_SAME_PROCESS => Access::SameProcess,
            SIDESTEP_ACCESS_SAME_USER => Access::SameUser,
            SIDESTEP_ACCESS_ANY => Access::Any,
            _ => {
                let message = format!("{access} is no access: it is one of SIDESTEP_ACCESS_…");
                return Err(Failure::new(SIDESTEP_INVALID_ARGUMENT, message));
            }
        };
        let starting = member.mesh.bridge().with_access(access);
        let bridge = member.runtime.wait(None, starting.start())??;
        let (socks_url, http_url) = (c_string(&bridge.socks_url()), c_string(&bridge.http_url()));
        place.set(handle::give(Bridging { bridge: Arc::new(bridge), socks_url, http_url, member }));
        Ok(())
    })
}

/// The proxy as a `socks5h://` URL with its password: any protocol, and the mesh resolves. It belongs to the bridge. NULL
/// where `bridge` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_bridge_socks_url(bridge: *const sidestep_bridge) -> *const c_char {
    handle::get::<Bridging>(bridge).map_or_else(|_| pointer(None), |one| pointer(Some(&one.socks_url)))
}

/// The proxy as an `http://` URL with its password: for `http://` URLs, and for what is tunnelled with CONNECT. It belongs
/// to the bridge. NULL where `bridge` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_bridge_http_url(bridge: *const sidestep_bridge) -> *const c_char {
    handle::get::<Bridging>(bridge).map_or_else(|_| pointer(None), |one| pointer(Some(&one.http_url)))
}

/// Ends a bridge, its listeners and the connections through it, and frees it. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_bridge_free(bridge: *mut sidestep_bridge) -> sidestep_status {
    handle::free::<Bridging>(bridge)
}
