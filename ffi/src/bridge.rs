//! The bridge: local proxies, Unix sockets and loopback listeners, for clients that accept neither a resolver nor a
//! connected descriptor.

pub mod listen;
pub mod resolve;

use std::{
    ffi::{CString, c_char},
    ptr,
    sync::Arc,
};

use mesh_connector::bridge::{Access, Bridge};

use crate::{
    arguments::{Out, c_string, pointer},
    boundary::call,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_E_INVALID_ARGUMENT, sidestep_status},
};

/// A bridge: local listeners in this process that forward connections into the mesh.
#[derive(Debug)]
pub struct sidestep_bridge(());

/// The bridge accepts clients in this process without a password. Other clients need the password in the URLs of the
/// bridge.
pub const SIDESTEP_ACCESS_SAME_PROCESS: i32 = 0;
/// The bridge accepts clients of the same user without a password. Other clients need the password in the URLs of the
/// bridge.
pub const SIDESTEP_ACCESS_SAME_USER: i32 = 1;
/// The bridge accepts all clients on this host without a password. These clients use the identity of this process.
pub const SIDESTEP_ACCESS_ANY: i32 = 2;

/// The object behind a `sidestep_bridge` handle.
pub(crate) struct BridgeObject {
    // `bridge` is dropped before `member`, which owns the threads that serve the bridge.
    pub(crate) bridge: Arc<Bridge>,
    socks_url: CString,
    http_url: CString,
    pub(crate) member: Arc<Member>,
}

impl Kind for BridgeObject {
    type C = sidestep_bridge;
    const TAG: u8 = 8;
    const NAME: &'static str = "sidestep_bridge";
}

impl BridgeObject {
    pub(crate) fn new(bridge: Bridge, member: Arc<Member>) -> Self {
        let (socks_url, http_url) = (c_string(&bridge.socks_url()), c_string(&bridge.http_url()));
        Self { bridge: Arc::new(bridge), socks_url, http_url, member }
    }
}

/// Starts a bridge with a SOCKS5 and HTTP proxy on a loopback port. Listeners for single services are added with
/// `sidestep_bridge_listen_…`. `access` is `SIDESTEP_ACCESS_SAME_PROCESS` (0), `SIDESTEP_ACCESS_SAME_USER` or
/// `SIDESTEP_ACCESS_ANY`, and selects the clients that the bridge accepts without a password. The URLs of the bridge
/// contain the password.
///
/// Fails with `SIDESTEP_E_LISTEN` if the proxy cannot open a port, and with `SIDESTEP_E_CLOSED` after `sidestep_shutdown`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_bridge_start(
    mesh: *const sidestep_mesh,
    access: i32,
    bridge: *mut *mut sidestep_bridge,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (bridge, err) = unsafe { (Out::required(bridge, ptr::null_mut(), "bridge"), Out::error(err)) };
    call(err, || {
        let output = bridge?;
        let member = handle::get::<Member>(mesh)?;
        let bridge = member.runtime.wait(None, starting(&member, access)?)??;
        output.set(handle::create(BridgeObject::new(bridge, member))?);
        Ok(())
    })
}

/// Returns a future that starts a bridge. The future does not hold a reference to `member`, because it runs on the
/// threads that `member` owns.
pub(crate) fn starting(
    member: &Member,
    access: i32,
) -> Result<impl Future<Output = Result<Bridge, Failure>> + Send + use<>, Failure> {
    let access = match access {
        SIDESTEP_ACCESS_SAME_PROCESS => Access::SameProcess,
        SIDESTEP_ACCESS_SAME_USER => Access::SameUser,
        SIDESTEP_ACCESS_ANY => Access::Any,
        _ => {
            let message = format!("the access {access} is invalid: pass one of SIDESTEP_ACCESS_…");
            return Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message));
        }
    };
    let builder = member.mesh.bridge().with_access(access);
    let users = member.dns_client_users.iter();
    let builder = users.fold(builder, |builder, uid| builder.with_dns_client_user(*uid));
    Ok(async move { Ok(builder.start().await?) })
}

/// Returns the URL of the SOCKS5 proxy, `socks5h://…`, with its password. The proxy forwards TCP connections of any
/// protocol. The proxy resolves the host names that clients send, including mesh names. The text belongs to the bridge.
/// Returns NULL if `bridge` is not a valid handle.
///
/// Every user of the host can read the command line of a process. Pass the URL to another program in an environment
/// variable such as `ALL_PROXY`, in a file that only this user can read, or through a pipe.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_bridge_socks_url(bridge: *const sidestep_bridge) -> *const c_char {
    handle::read(bridge, pointer(None), |bridge: &BridgeObject| pointer(Some(&bridge.socks_url)))
}

/// Returns the URL of the HTTP proxy, `http://…`, with its password. The proxy accepts requests with absolute `http://`
/// URLs, and CONNECT requests. The text belongs to the bridge. Returns NULL if `bridge` is not a valid handle. Do not pass
/// the URL on a command line; see `sidestep_bridge_socks_url`.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_bridge_http_url(bridge: *const sidestep_bridge) -> *const c_char {
    handle::read(bridge, pointer(None), |bridge: &BridgeObject| pointer(Some(&bridge.http_url)))
}

/// Frees a bridge, and closes its listeners and the connections through it. Does nothing if `bridge` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_bridge_free(bridge: *mut sidestep_bridge) -> sidestep_status {
    handle::free::<BridgeObject>(bridge)
}
