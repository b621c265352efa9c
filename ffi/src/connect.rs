//! From a host and port to a descriptor.

use std::{
    ffi::c_char,
    os::fd::{IntoRawFd as _, OwnedFd},
    time::Duration,
};

use mesh_connector::{Protocol, Target};

use crate::{
    arguments::{Out, text, timeout},
    border::call,
    descriptor::{self, Pair},
    error::sidestep_error,
    failure::Failure,
    handle,
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_INVALID_ARGUMENT, sidestep_status},
};

/// `how`: anything is spoken over the connection.
pub const SIDESTEP_TCP: u32 = 0;
/// `how`: HTTP/1.1 is spoken over the connection.
pub const SIDESTEP_HTTP1: u32 = 1;
/// `how`: HTTP/2 is spoken over the connection, gRPC for instance.
pub const SIDESTEP_HTTP2: u32 = 2;
/// `how`, beside a protocol: the descriptor is a TCP socket of loopback instead of a Unix socket, for programs that set TCP
/// options or have to tell a reset from an end.
pub const SIDESTEP_TCP_PAIR: u32 = 0x10;
/// `how` of `sidestep_explain`, beside a protocol: JSON.
pub const SIDESTEP_EXPLAIN_JSON: u32 = 0x100;
/// `how` of `sidestep_explain`, beside a protocol: connect and see.
pub const SIDESTEP_EXPLAIN_PROBE: u32 = 0x200;

const PROTOCOLS: u32 = 0xF;

/// Where a connection is to lead.
///
/// # Safety
///
/// That of [`text`].
pub(crate) unsafe fn target(host: *const c_char, port: u16, how: u32, flags: u32) -> Result<Target, Failure> {
    // SAFETY: the caller's promise.
    let host = unsafe { text(host, "the host") }?;
    let protocol = match how & PROTOCOLS {
        SIDESTEP_TCP => Some(Protocol::Tcp),
        SIDESTEP_HTTP1 => Some(Protocol::Http1),
        SIDESTEP_HTTP2 => Some(Protocol::Http2),
        _ => None,
    };
    let protocol = protocol.filter(|_| how & !(PROTOCOLS | flags) == 0).ok_or_else(|| {
        Failure::new(SIDESTEP_INVALID_ARGUMENT, format!("`how` has bits that mean nothing here: {how:#x}"))
    })?;
    Ok(Target::new(host, port)?.with_protocol(protocol))
}

pub(crate) fn pair(how: u32) -> Pair {
    if how & SIDESTEP_TCP_PAIR == 0 { Pair::Unix } else { Pair::Tcp }
}

/// Connects, on the mesh's threads. What it needs of the mesh is taken before, so that its threads do not keep it.
pub(crate) fn connecting(
    member: &Member,
    target: Target,
    pair: Pair,
    patience: Option<Duration>,
) -> impl Future<Output = Result<OwnedFd, Failure>> + Send + use<> {
    let mesh = member.mesh.clone();
    let mesh = patience.map_or_else(|| mesh.clone(), |patience| mesh.with_connect_deadline(patience));
    let connections = member.connections.clone();
    async move { descriptor::connect(mesh.connect_to(&target), pair, &connections).await }
}

/// Connects to `port` of `host` (a service's name, short names included, its address, or a host outside of the mesh) and
/// gives a connected descriptor, over which the program reads and writes plaintext: blocking, closed on exec, the program's
/// to close. Behind it the mesh's threads speak mTLS.
///
/// `how` is what will be spoken (`SIDESTEP_TCP`, `SIDESTEP_HTTP1`, `SIDESTEP_HTTP2`), by which Istio's proxies choose how to
/// treat the connection, and may have `SIDESTEP_TCP_PAIR`. `timeout_ms` is for everything from route to handshake; -1 is the
/// setting `connect-timeout-ms`.
///
/// The end of one direction (`shutdown`) leaves the other open; close sends what was written. A connection that breaks, also
/// because a peer refuses this process' certificate, which TLS 1.3 tells late, is a reset of a TCP socket and the end of a
/// Unix socket. After `fork` the descriptor works in both processes as long as the parent lives.
///
/// Fails with what is wrong with the target (`SIDESTEP_INVALID_TARGET`, `SIDESTEP_UNKNOWN_HOST`, `SIDESTEP_UNKNOWN_PORT`,
/// `SIDESTEP_UNKNOWN_SUBSET`, `SIDESTEP_AMBIGUOUS`, `SIDESTEP_RESOLVE`), with the way there (`SIDESTEP_NO_ENDPOINT`,
/// `SIDESTEP_TOO_MANY_CONNECTIONS`, `SIDESTEP_DIAL`, `SIDESTEP_TLS`, `SIDESTEP_PEER_IDENTITY`, `SIDESTEP_PLAINTEXT_REFUSED`,
/// `SIDESTEP_UNSUPPORTED`, `SIDESTEP_TIMEOUT`) or with this process' membership (`SIDESTEP_CONTROL_PLANE`,
/// `SIDESTEP_CREDENTIALS`, `SIDESTEP_CLOSED`); with `SIDESTEP_SYSTEM` where descriptors have run out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_connect(
    mesh: *const sidestep_mesh,
    host: *const c_char,
    port: u16,
    how: u32,
    timeout_ms: i64,
    fd: *mut i32,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (fd, err) = unsafe { (Out::required(fd, -1, "fd"), Out::error(err)) };
    call(err, || {
        let fd = fd?;
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: as the header says of texts.
        let target = unsafe { target(host, port, how, SIDESTEP_TCP_PAIR) }?;
        let connecting = connecting(&member, target, pair(how), timeout(timeout_ms));
        fd.set(member.runtime.wait(None, connecting)??.into_raw_fd());
        Ok(())
    })
}
