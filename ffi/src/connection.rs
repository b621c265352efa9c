//! What a connection is.

use std::{
    ffi::{CString, c_char},
    ptr,
};

use mesh_connector::ConnectionInfo;

use crate::{
    arguments::{Out, c_string, pointer},
    border::call,
    descriptor::inode,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_NOT_A_CONNECTION, sidestep_status},
};

/// What a connection is: who is at the other end, and how it leads there. It stays as it is when the connection ends.
#[derive(Debug)]
pub struct sidestep_info(());

/// The peer's verified name: `spiffe://cluster.local/ns/weather/sa/forecast`. None in plaintext.
pub const SIDESTEP_INFO_PEER: i32 = 1;
/// The mesh's own name of the service. None outside of the mesh.
pub const SIDESTEP_INFO_SERVICE: i32 = 2;
/// The cluster: `outbound|3002||forecast.weather.svc.cluster.local`. None outside of the mesh.
pub const SIDESTEP_INFO_CLUSTER: i32 = 3;
/// The endpoint that was chosen, as the control plane names it.
pub const SIDESTEP_INFO_ENDPOINT: i32 = 4;
/// The address that was dialled, if it is an east-west gateway's. None where the workload was dialled itself.
pub const SIDESTEP_INFO_GATEWAY: i32 = 5;
/// The server name that was sent. None in plaintext.
pub const SIDESTEP_INFO_SNI: i32 = 6;
/// The application protocol that the peer chose. None is usual.
pub const SIDESTEP_INFO_ALPN: i32 = 7;
/// `mutual_tls`, `tls` or `plaintext`.
pub const SIDESTEP_INFO_TRANSPORT: i32 = 8;
/// The address that was dialled.
pub const SIDESTEP_INFO_ADDRESS: i32 = 9;

pub(crate) struct Info([Option<CString>; 9]);

impl Kind for Info {
    type C = sidestep_info;
    const TAG: u8 = 5;
    const NAME: &'static str = "sidestep_info";
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

/// Tells what the connection behind a descriptor of `sidestep_connect` is; copies of it (`dup`) are the same connection.
/// Fails with `SIDESTEP_NOT_A_CONNECTION` for all other descriptors, and when the connection has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_connection_info(
    mesh: *const sidestep_mesh,
    fd: i32,
    info: *mut *mut sidestep_info,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (info, err) = unsafe { (Out::required(info, ptr::null_mut(), "info"), Out::error(err)) };
    call(err, || {
        let info = info?;
        let member = handle::get::<Member>(mesh)?;
        let found = inode(fd).and_then(|inode| member.connections.info(inode));
        let found = found.ok_or_else(|| {
            let message = format!("descriptor {fd} is no open connection of this mesh");
            Failure::new(SIDESTEP_NOT_A_CONNECTION, message)
        })?;
        info.set(handle::give(Info::new(&found)));
        Ok(())
    })
}

/// One of the texts `SIDESTEP_INFO_…`; NULL where there is none. It belongs to `info`.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_info_get(info: *const sidestep_info, what: i32) -> *const c_char {
    let index = usize::try_from(what).ok().and_then(|what| what.checked_sub(1));
    let info = handle::get::<Info>(info).ok();
    let text = index.zip(info.as_ref()).and_then(|(index, info)| info.0.get(index)?.as_deref());
    pointer(text)
}

/// Frees what was told about a connection. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_info_free(info: *mut sidestep_info) -> sidestep_status {
    handle::free::<Info>(info)
}
