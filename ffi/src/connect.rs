//! The function `sidestep_connect`, which returns a connection to a service as a descriptor.

use std::{
    ffi::{c_char, c_int},
    os::fd::{IntoRawFd as _, OwnedFd},
    time::Duration,
};

use mesh_connector::{Protocol, Target};

use crate::{
    arguments::{Out, text, timeout},
    boundary::call,
    descriptor::{self, Pair},
    error::sidestep_error,
    failure::Failure,
    handle,
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_E_INVALID_ARGUMENT, sidestep_status},
};

/// The protocol of the connection is unknown, or neither HTTP/1.1 nor HTTP/2.
pub const SIDESTEP_PROTOCOL_TCP: u32 = 0;
/// The protocol of the connection is HTTP/1.1.
pub const SIDESTEP_PROTOCOL_HTTP1: u32 = 1;
/// The protocol of the connection is HTTP/2, for example gRPC.
pub const SIDESTEP_PROTOCOL_HTTP2: u32 = 2;
/// The descriptor is a loopback TCP socket instead of a Unix socket. This flag is for programs that set TCP options, or
/// that must distinguish a reset of the connection from the end of the stream.
pub const SIDESTEP_FLAG_TCP_PAIR: u32 = 0x10;
/// `sidestep_explain` returns JSON instead of readable text.
pub const SIDESTEP_FLAG_EXPLAIN_JSON: u32 = 0x100;
/// `sidestep_explain` opens a connection, and reports its result.
pub const SIDESTEP_FLAG_EXPLAIN_PROBE: u32 = 0x200;

const PROTOCOLS: u32 = 0xF;

/// Returns the target of a connection. `flags` is the protocol, `SIDESTEP_PROTOCOL_TCP` (0), `SIDESTEP_PROTOCOL_HTTP1`
/// or `SIDESTEP_PROTOCOL_HTTP2`, combined with any of the bits in `allowed`. The function fails if `flags` contains
/// other bits.
///
/// # Safety
///
/// The same as [`text`].
pub(crate) unsafe fn target(
    host: *const c_char,
    port: u16,
    flags: u32,
    allowed: u32,
) -> Result<Target, Failure> {
    // SAFETY: the caller upholds the requirements of `text`.
    let host = unsafe { text(host, "host") }?;
    let protocol = match flags & PROTOCOLS {
        SIDESTEP_PROTOCOL_TCP => Some(Protocol::Tcp),
        SIDESTEP_PROTOCOL_HTTP1 => Some(Protocol::Http1),
        SIDESTEP_PROTOCOL_HTTP2 => Some(Protocol::Http2),
        _ => None,
    };
    let protocol = protocol.filter(|_| flags & !(PROTOCOLS | allowed) == 0).ok_or_else(|| {
        let message = format!("this function does not support the flags {flags:#x}");
        Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message)
    })?;
    Ok(Target::new(host, port)?.with_protocol(protocol))
}

pub(crate) fn pair(flags: u32) -> Pair {
    if flags & SIDESTEP_FLAG_TCP_PAIR == 0 { Pair::Unix } else { Pair::Tcp }
}

/// Returns a future that connects to `target`, and returns the descriptor. The time limit is `limit`, or the setting
/// `connect-timeout-ms` if `limit` is `None`. The future does not hold a reference to `member`, because it runs on the
/// threads that `member` owns.
pub(crate) fn connecting(
    member: &Member,
    target: Target,
    pair: Pair,
    limit: Option<Duration>,
) -> impl Future<Output = Result<OwnedFd, Failure>> + Send + use<> {
    let mesh = member.mesh.clone();
    let mesh = limit.map_or_else(|| mesh.clone(), |limit| mesh.with_connect_deadline(limit));
    let connections = member.connections.clone();
    async move { descriptor::connect(mesh.connect_to(&target), pair, &connections).await }
}

/// Connects to `port` of `host`, and stores a connected descriptor in `*fd`. `host` is the full or short name of a
/// service, the virtual IP of a service, or a host outside the mesh. The program reads and writes plaintext; the mesh's
/// threads encrypt it with mTLS. The descriptor blocks, is closed on exec, and belongs to the program, which closes it.
///
/// `flags` is the protocol of the connection, `SIDESTEP_PROTOCOL_TCP` (0), `SIDESTEP_PROTOCOL_HTTP1` or
/// `SIDESTEP_PROTOCOL_HTTP2`. With `SIDESTEP_FLAG_TCP_PAIR`, which can be combined with each of them, the
/// descriptor is a TCP socket instead of a Unix socket. Istio's proxies treat connections
/// differently by protocol. `timeout_ms` limits name resolution, connection attempts and TLS handshake together; -1
/// selects the timeout in the setting `connect-timeout-ms`.
///
/// After `shutdown` of one direction, the other direction stays open. After `close`, the data that the program has
/// written is still sent. If the connection breaks, the program sees a reset on a TCP socket
/// (`SIDESTEP_FLAG_TCP_PAIR`), and the end of the stream on a Unix socket. The program sees the same if the peer
/// rejects this process' certificate, because TLS 1.3 reports the rejection after the handshake. After `fork`, the
/// descriptor works in both processes while the parent process runs.
///
/// status                          | reason
/// --------------------------------|--------------------------------------------------------------------------------------
/// SIDESTEP_E_INVALID_TARGET       | `host` or `port` is invalid
/// SIDESTEP_E_UNKNOWN_HOST         | the host does not exist
/// SIDESTEP_E_UNKNOWN_PORT         | the service does not have the port
/// SIDESTEP_E_AMBIGUOUS            | `host` is an address of several services
/// SIDESTEP_E_RESOLVE              | upstream DNS failed
/// SIDESTEP_E_NO_ENDPOINT          | the service has no usable endpoint
/// SIDESTEP_E_TOO_MANY_CONNECTIONS | the connection limit of the DestinationRule is reached
/// SIDESTEP_E_DIAL                 | the TCP connection failed
/// SIDESTEP_E_TLS                  | the TLS handshake failed
/// SIDESTEP_E_PEER_IDENTITY        | the peer's certificate has an unexpected identity
/// SIDESTEP_E_PLAINTEXT_REFUSED    | the peer accepts only plaintext, and the setting `mtls` is `required`
/// SIDESTEP_E_UNSUPPORTED          | the mesh configuration uses a feature that this library does not support
/// SIDESTEP_E_TIMEOUT              | `timeout_ms` expired
/// SIDESTEP_E_CONTROL_PLANE        | configuration from istiod is missing
/// SIDESTEP_E_CREDENTIALS          | this process has no valid certificate
/// SIDESTEP_E_CLOSED               | the mesh was shut down
/// SIDESTEP_E_SYSTEM               | no descriptor is left
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_connect(
    mesh: *const sidestep_mesh,
    host: *const c_char,
    port: u16,
    flags: u32,
    timeout_ms: i64,
    fd: *mut c_int,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (fd, err) = unsafe { (Out::required(fd, -1, "fd"), Out::error(err)) };
    call(err, || {
        let fd = fd?;
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: the header requires valid texts.
        let target = unsafe { target(host, port, flags, SIDESTEP_FLAG_TCP_PAIR) }?;
        let connecting = connecting(&member, target, pair(flags), timeout(timeout_ms));
        fd.set(member.runtime.wait(None, connecting)??.into_raw_fd());
        Ok(())
    })
}
