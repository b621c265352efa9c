//! The functions that return information about a connection.

use std::{
    ffi::{CString, c_char, c_int},
    ptr,
};

use mesh_connector::ConnectionInfo;

use crate::{
    arguments::{Out, c_string, pointer},
    boundary::call,
    descriptor::socket,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_E_NOT_A_CONNECTION, sidestep_status},
};

/// Information about a connection: its peer, and how it was made. It stays valid after the connection has ended.
#[derive(Debug)]
pub struct sidestep_info(());

/// The peer's verified SPIFFE ID, such as `spiffe://cluster.local/ns/weather/sa/forecast`. NULL for plaintext.
pub const SIDESTEP_INFO_PEER: i32 = 1;
/// The canonical name of the service. NULL for a host outside the mesh.
pub const SIDESTEP_INFO_SERVICE: i32 = 2;
/// The xDS cluster, such as `outbound|3002||forecast.weather.svc.cluster.local`. NULL for a host outside the mesh.
pub const SIDESTEP_INFO_CLUSTER: i32 = 3;
/// The selected endpoint, with the address that istiod sent.
pub const SIDESTEP_INFO_ENDPOINT: i32 = 4;
/// The address of the east-west gateway that the connection goes through. NULL for a direct connection.
pub const SIDESTEP_INFO_GATEWAY: i32 = 5;
/// The server name (SNI) of the TLS handshake. NULL for plaintext.
pub const SIDESTEP_INFO_SNI: i32 = 6;
/// The application protocol (ALPN) that the peer selected. NULL if the peer selected none, which is usual.
pub const SIDESTEP_INFO_ALPN: i32 = 7;
/// The transport: `mutual_tls`, `tls` or `plaintext`.
pub const SIDESTEP_INFO_TRANSPORT: i32 = 8;
/// The address that the library connected to.
pub const SIDESTEP_INFO_ADDRESS: i32 = 9;

pub(crate) struct Info([Option<CString>; 9]);

impl Kind for Info {
    type C = sidestep_info;
    const TAG: u8 = 5;
    const NAME: &'static str = "sidestep_info";
    const MANY: usize = 10_000;
}

impl Info {
    pub(crate) fn new(info: &ConnectionInfo) -> Self {
        let address = info.peer_addr().to_string();
        let texts = [
            info.peer_name(),
            info.service(),
            info.cluster(),
            Some(info.endpoint()),
            info.is_through_gateway().then_some(&address),
            info.sni(),
            info.alpn(),
            Some(info.transport().as_label()),
            Some(&address),
        ];
        Self(texts.map(|text| text.map(c_string)))
    }
}

/// Returns information about the connection behind a descriptor of `sidestep_connect`. Copies of the descriptor (`dup`)
/// refer to the same connection.
///
/// Fails with `SIDESTEP_E_NOT_A_CONNECTION` for any other descriptor, such as another socket or a file, and after the
/// connection has ended.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_connection_info(
    mesh: *const sidestep_mesh,
    fd: c_int,
    info: *mut *mut sidestep_info,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (info, err) = unsafe { (Out::required(info, ptr::null_mut(), "info"), Out::error(err)) };
    call(err, || {
        let info = info?;
        let member = handle::get::<Member>(mesh)?;
        let found = socket(fd).and_then(|socket| member.connections.info(socket));
        let found = found.ok_or_else(|| {
            let message = format!("the descriptor {fd} is not an open connection of this mesh");
            Failure::new(SIDESTEP_E_NOT_A_CONNECTION, message)
        })?;
        info.set(handle::create(Info::new(&found))?);
        Ok(())
    })
}

/// Returns the property of a connection that `what` selects; `what` is a `SIDESTEP_INFO_…` constant. Returns NULL if
/// the connection does not have this property, or if `info` or `what` is invalid. The text belongs to `info`.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_info_get(info: *const sidestep_info, what: i32) -> *const c_char {
    let index = usize::try_from(what).ok().and_then(|what| what.checked_sub(1));
    let text = |info: &Info| pointer(index.and_then(|index| info.0.get(index)?.as_deref()));
    handle::read(info, pointer(None), text)
}

/// Frees information about a connection. Does nothing if `info` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_info_free(info: *mut sidestep_info) -> sidestep_status {
    handle::free::<Info>(info)
}
