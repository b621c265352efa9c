//! What a call comes to: a number that C programs compare, and its meanings for `errno` and `getaddrinfo`.

use libc::c_int;
use mesh_connector::ErrorKind;
use mesh_resolver::ErrorKind as ResolveKind;

/// What a call came to: `SIDESTEP_OK` or one of the codes below. Codes never change their meaning, and later versions
/// add some: treat one that you do not know as an error. What stands behind each is the `errno` that `sidestep_errno` gives.
///
/// Beside what is said of each function, all may fail with what is wrong with their arguments (`SIDESTEP_NULL_POINTER`,
/// `SIDESTEP_BAD_HANDLE`, `SIDESTEP_WRONG_HANDLE`, `SIDESTEP_INVALID_UTF8`, `SIDESTEP_INVALID_ARGUMENT`, `SIDESTEP_FORKED`), with
/// `SIDESTEP_PANIC`, and, where they block, with `SIDESTEP_WOULD_DEADLOCK` and `SIDESTEP_SYSTEM`.
pub type sidestep_status = i32;

/// It worked.
pub const SIDESTEP_OK: sidestep_status = 0;

/// A pointer that must not be NULL is NULL. (`EFAULT`)
pub const SIDESTEP_NULL_POINTER: sidestep_status = 1;
/// A handle that was freed, or that never was one. (`EBADF`)
pub const SIDESTEP_BAD_HANDLE: sidestep_status = 2;
/// A handle of another kind. (`EINVAL`)
pub const SIDESTEP_WRONG_HANDLE: sidestep_status = 3;
/// A text that is not UTF-8. (`EILSEQ`)
pub const SIDESTEP_INVALID_UTF8: sidestep_status = 4;
/// A number, key or text that means nothing here. (`EINVAL`)
pub const SIDESTEP_INVALID_ARGUMENT: sidestep_status = 5;
/// A handle from before fork(): its threads are not in this process. (`EBADF`)
pub const SIDESTEP_FORKED: sidestep_status = 6;
/// A blocking call from a log callback, which would wait for itself. (`EDEADLK`)
pub const SIDESTEP_WOULD_DEADLOCK: sidestep_status = 7;
/// The mesh was shut down. (`ESHUTDOWN`)
pub const SIDESTEP_CLOSED: sidestep_status = 8;
/// A descriptor that is no open connection of this mesh. (`EBADF`)
pub const SIDESTEP_NOT_A_CONNECTION: sidestep_status = 9;
/// Nothing has come yet. (`EAGAIN`)
pub const SIDESTEP_AGAIN: sidestep_status = 10;
/// The operation was cancelled. (`ECANCELED`)
pub const SIDESTEP_CANCELLED: sidestep_status = 11;

/// The configuration cannot be used; the message lists every problem with its file and key. (`EINVAL`)
pub const SIDESTEP_CONFIG: sidestep_status = 100;

/// istiod has not said what is needed. (`ENETDOWN`)
pub const SIDESTEP_CONTROL_PLANE: sidestep_status = 200;
/// This process has no valid certificate. (`EACCES`)
pub const SIDESTEP_CREDENTIALS: sidestep_status = 201;

/// Upstream DNS failed. (`EHOSTUNREACH`)
pub const SIDESTEP_RESOLVE: sidestep_status = 300;
/// Nobody knows the host. (`EHOSTUNREACH`)
pub const SIDESTEP_UNKNOWN_HOST: sidestep_status = 301;
/// The host has no address of the family that was asked for. (`EHOSTUNREACH`)
pub const SIDESTEP_NO_ADDRESS: sidestep_status = 302;

/// No TCP connection came about. (`ECONNREFUSED`)
pub const SIDESTEP_DIAL: sidestep_status = 400;
/// A deadline passed. (`ETIMEDOUT`)
pub const SIDESTEP_TIMEOUT: sidestep_status = 401;
/// The TLS handshake failed. (`EPROTO`)
pub const SIDESTEP_TLS: sidestep_status = 402;
/// The peer is not who it should be. (`EPROTO`)
pub const SIDESTEP_PEER_IDENTITY: sidestep_status = 403;
/// Only plaintext leads there, and it is refused. (`EACCES`)
pub const SIDESTEP_PLAINTEXT_REFUSED: sidestep_status = 404;
/// The service has no endpoint that may be used. (`EHOSTUNREACH`)
pub const SIDESTEP_NO_ENDPOINT: sidestep_status = 405;
/// The service does not have this port. (`ECONNREFUSED`)
pub const SIDESTEP_UNKNOWN_PORT: sidestep_status = 406;
/// The service does not have this subset. (`ECONNREFUSED`)
pub const SIDESTEP_UNKNOWN_SUBSET: sidestep_status = 407;
/// As many connections as the DestinationRule allows. (`EBUSY`)
pub const SIDESTEP_TOO_MANY_CONNECTIONS: sidestep_status = 408;
/// An address of several services. (`ENOTUNIQ`)
pub const SIDESTEP_AMBIGUOUS: sidestep_status = 409;
/// The connection broke. (`ECONNRESET`)
pub const SIDESTEP_BROKEN: sidestep_status = 410;
/// A listener of this host did not come about. (`EADDRNOTAVAIL`)
pub const SIDESTEP_LISTEN: sidestep_status = 411;
/// No host and port that can be dialled. (`EINVAL`)
pub const SIDESTEP_INVALID_TARGET: sidestep_status = 412;
/// The control plane asks for something that this library does not do. (`EOPNOTSUPP`)
pub const SIDESTEP_UNSUPPORTED: sidestep_status = 413;

/// The system refused something: descriptors, threads. (`EIO`)
pub const SIDESTEP_SYSTEM: sidestep_status = 900;
/// A defect of the library's. (`EIO`)
pub const SIDESTEP_PANIC: sidestep_status = 901;

/// Of an error of the connector's.
pub(crate) fn of(kind: ErrorKind) -> sidestep_status {
    match kind {
        ErrorKind::Ambiguous => SIDESTEP_AMBIGUOUS,
        ErrorKind::Closed => SIDESTEP_CLOSED,
        ErrorKind::Config => SIDESTEP_CONFIG,
        ErrorKind::ControlPlane => SIDESTEP_CONTROL_PLANE,
        ErrorKind::Credentials => SIDESTEP_CREDENTIALS,
        ErrorKind::Dial => SIDESTEP_DIAL,
        ErrorKind::Exchange => SIDESTEP_BROKEN,
        ErrorKind::InvalidTarget => SIDESTEP_INVALID_TARGET,
        ErrorKind::Listen => SIDESTEP_LISTEN,
        ErrorKind::NoEndpoint => SIDESTEP_NO_ENDPOINT,
        ErrorKind::PeerIdentity => SIDESTEP_PEER_IDENTITY,
        ErrorKind::PlaintextRefused => SIDESTEP_PLAINTEXT_REFUSED,
        ErrorKind::Resolve => SIDESTEP_RESOLVE,
        ErrorKind::Timeout => SIDESTEP_TIMEOUT,
        ErrorKind::Tls => SIDESTEP_TLS,
        ErrorKind::TooManyConnections => SIDESTEP_TOO_MANY_CONNECTIONS,
        ErrorKind::UnknownHost => SIDESTEP_UNKNOWN_HOST,
        ErrorKind::UnknownPort => SIDESTEP_UNKNOWN_PORT,
        ErrorKind::UnknownSubset => SIDESTEP_UNKNOWN_SUBSET,
        ErrorKind::Unsupported => SIDESTEP_UNSUPPORTED,
        // Kinds of later versions, until they get a code.
        _ => SIDESTEP_BROKEN,
    }
}

/// Of an error of the resolver's.
pub(crate) fn of_lookup(kind: ResolveKind) -> sidestep_status {
    match kind {
        ResolveKind::Config => SIDESTEP_CONFIG,
        ResolveKind::InvalidName => SIDESTEP_INVALID_TARGET,
        ResolveKind::Listen => SIDESTEP_LISTEN,
        ResolveKind::NameNotFound => SIDESTEP_UNKNOWN_HOST,
        ResolveKind::NoRecords => SIDESTEP_NO_ADDRESS,
        ResolveKind::NotReady => SIDESTEP_CONTROL_PLANE,
        ResolveKind::Timeout => SIDESTEP_TIMEOUT,
        _ => SIDESTEP_RESOLVE,
    }
}

/// The nearest number of `errno`.
pub(crate) fn errno(status: sidestep_status) -> c_int {
    match status {
        SIDESTEP_OK => 0,
        SIDESTEP_NULL_POINTER => libc::EFAULT,
        SIDESTEP_BAD_HANDLE | SIDESTEP_FORKED | SIDESTEP_NOT_A_CONNECTION => libc::EBADF,
        SIDESTEP_INVALID_UTF8 => libc::EILSEQ,
        SIDESTEP_WRONG_HANDLE | SIDESTEP_INVALID_ARGUMENT | SIDESTEP_CONFIG | SIDESTEP_INVALID_TARGET => {
            libc::EINVAL
        }
        SIDESTEP_WOULD_DEADLOCK => libc::EDEADLK,
        SIDESTEP_CLOSED => libc::ESHUTDOWN,
        SIDESTEP_AGAIN => libc::EAGAIN,
        SIDESTEP_CANCELLED => libc::ECANCELED,
        SIDESTEP_CONTROL_PLANE => libc::ENETDOWN,
        SIDESTEP_CREDENTIALS | SIDESTEP_PLAINTEXT_REFUSED => libc::EACCES,
        SIDESTEP_RESOLVE | SIDESTEP_UNKNOWN_HOST | SIDESTEP_NO_ADDRESS | SIDESTEP_NO_ENDPOINT => {
            libc::EHOSTUNREACH
        }
        SIDESTEP_DIAL | SIDESTEP_UNKNOWN_PORT | SIDESTEP_UNKNOWN_SUBSET => libc::ECONNREFUSED,
        SIDESTEP_TIMEOUT => libc::ETIMEDOUT,
        SIDESTEP_TLS | SIDESTEP_PEER_IDENTITY => libc::EPROTO,
        SIDESTEP_TOO_MANY_CONNECTIONS => libc::EBUSY,
        SIDESTEP_AMBIGUOUS => libc::ENOTUNIQ,
        SIDESTEP_BROKEN => libc::ECONNRESET,
        SIDESTEP_LISTEN => libc::EADDRNOTAVAIL,
        SIDESTEP_UNSUPPORTED => libc::EOPNOTSUPP,
        _ => libc::EIO,
    }
}

/// The nearest answer of `getaddrinfo`.
pub(crate) fn eai(status: sidestep_status) -> c_int {
    match status {
        SIDESTEP_OK => 0,
        SIDESTEP_UNKNOWN_HOST | SIDESTEP_INVALID_TARGET => libc::EAI_NONAME,
        SIDESTEP_NO_ADDRESS => libc::EAI_NODATA,
        SIDESTEP_UNKNOWN_PORT => libc::EAI_SERVICE,
        SIDESTEP_RESOLVE | SIDESTEP_TIMEOUT | SIDESTEP_CONTROL_PLANE => libc::EAI_AGAIN,
        _ => libc::EAI_FAIL,
    }
}

/// What to do about it, where the message does not say.
pub(crate) fn next_step(status: sidestep_status) -> &'static str {
    match status {
        SIDESTEP_NULL_POINTER => "pass a pointer",
        SIDESTEP_BAD_HANDLE => "use a handle between the call that made it and the one that frees it",
        SIDESTEP_WRONG_HANDLE => "pass a handle of the kind that the function takes",
        SIDESTEP_INVALID_UTF8 => "pass texts in UTF-8",
        SIDESTEP_INVALID_ARGUMENT => "see the function's description in sidestep.h",
        SIDESTEP_FORKED => "join after fork(), in the process that uses the mesh",
        SIDESTEP_WOULD_DEADLOCK => "leave the callback first; blocking calls belong on another thread",
        SIDESTEP_CLOSED => "join again",
        SIDESTEP_NOT_A_CONNECTION => "ask for a descriptor of sidestep_connect that is still open",
        SIDESTEP_CONFIG => "correct what the message names",
        SIDESTEP_CONTROL_PLANE => "look whether istiod runs and is reached; sidestep_health tells",
        SIDESTEP_CREDENTIALS => "look whether the token is current; sidestep_health tells",
        SIDESTEP_RESOLVE | SIDESTEP_UNKNOWN_HOST | SIDESTEP_NO_ADDRESS => {
            "compare the name with the mesh's; sidestep_explain tells"
        }
        SIDESTEP_SYSTEM => "look at the limits of this process: descriptors, threads, memory",
        SIDESTEP_INVALID_TARGET => "pass a name or an address, and a port of the service",
        SIDESTEP_UNKNOWN_PORT | SIDESTEP_UNKNOWN_SUBSET => "take one that the message names",
        SIDESTEP_LISTEN => "choose another address, port or path, or end what is there",
        SIDESTEP_PANIC => "report it with the message: this is a defect of the library's",
        _ => "sidestep_explain tells how the connection is made",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, c_int); 20] = [
        ("EACCES", libc::EACCES),
        ("EADDRNOTAVAIL", libc::EADDRNOTAVAIL),
        ("EAGAIN", libc::EAGAIN),
        ("EBADF", libc::EBADF),
        ("EBUSY", libc::EBUSY),
        ("ECANCELED", libc::ECANCELED),
        ("ECONNREFUSED", libc::ECONNREFUSED),
        ("ECONNRESET", libc::ECONNRESET),
        ("EDEADLK", libc::EDEADLK),
        ("EFAULT", libc::EFAULT),
        ("EHOSTUNREACH", libc::EHOSTUNREACH),
        ("EILSEQ", libc::EILSEQ),
        ("EINVAL", libc::EINVAL),
        ("EIO", libc::EIO),
        ("ENETDOWN", libc::ENETDOWN),
        ("ENOTUNIQ", libc::ENOTUNIQ),
        ("EOPNOTSUPP", libc::EOPNOTSUPP),
        ("EPROTO", libc::EPROTO),
        ("ESHUTDOWN", libc::ESHUTDOWN),
        ("ETIMEDOUT", libc::ETIMEDOUT),
    ];

    #[test]
    fn every_code_says_its_errno() {
        let source = include_str!("status.rs");
        let mut count = 0;
        for (said, rest) in source.match_indices("`)\npub const ").map(|(at, _)| source.split_at(at)) {
            let said = said.rsplit('`').next().unwrap();
            let value = rest.split(" = ").nth(1).unwrap().split(';').next().unwrap();
            let (_, number) = NAMES.iter().find(|(name, _)| *name == said).unwrap();
            assert_eq!(*number, errno(value.parse().unwrap()), "{}", rest.lines().nth(1).unwrap());
            count += 1;
        }
        // All but the one for success.
        assert_eq!(count, source.matches(": sidestep_status =").count() - 2);
    }
}
