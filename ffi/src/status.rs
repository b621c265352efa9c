//! Status codes, and the `errno`, `getaddrinfo` code, text and next step of each.

use std::ffi::{CStr, c_char};

use libc::c_int;
use mesh_connector::ErrorKind;
use mesh_resolver::ErrorKind as ResolveKind;

/// The result of a call: `SIDESTEP_OK` or one of `SIDESTEP_E_…`.
///
/// A code never changes its meaning. Later versions add codes, so treat a code that you do not know as an error. The
/// errno of a code is the result of `sidestep_errno`. For an error with a code that is marked transient,
/// `sidestep_error_is_transient` usually returns 1.
///
/// Every function can return the codes 1 to 6 for invalid arguments, and `SIDESTEP_E_PANIC`. Functions that block can also
/// return `SIDESTEP_E_WOULD_DEADLOCK` and `SIDESTEP_E_SYSTEM`. The description of a function lists its other failures.
///
/// The number 407 is reserved.
pub type sidestep_status = i32;

/// Success.
pub const SIDESTEP_OK: sidestep_status = 0;

/// A required pointer is NULL. (`EFAULT`)
pub const SIDESTEP_E_NULL_POINTER: sidestep_status = 1;
/// The handle was freed, or is not a handle. (`EBADF`)
pub const SIDESTEP_E_BAD_HANDLE: sidestep_status = 2;
/// The handle has another type. (`EINVAL`)
pub const SIDESTEP_E_WRONG_HANDLE: sidestep_status = 3;
/// A text is not valid UTF-8. (`EILSEQ`)
pub const SIDESTEP_E_INVALID_UTF8: sidestep_status = 4;
/// An argument has an invalid value. (`EINVAL`)
pub const SIDESTEP_E_INVALID_ARGUMENT: sidestep_status = 5;
/// The handle was created before fork(), in the parent process. (`EBADF`)
pub const SIDESTEP_E_FORKED: sidestep_status = 6;
/// A log callback called a function that blocks. (`EDEADLK`)
pub const SIDESTEP_E_WOULD_DEADLOCK: sidestep_status = 7;
/// The mesh was shut down. (`ESHUTDOWN`)
pub const SIDESTEP_E_CLOSED: sidestep_status = 8;
/// The descriptor is not an open connection of this mesh. (`EBADF`)
pub const SIDESTEP_E_NOT_A_CONNECTION: sidestep_status = 9;
/// The queue has no completion. (`EAGAIN`, transient)
pub const SIDESTEP_E_AGAIN: sidestep_status = 10;
/// The operation was cancelled. (`ECANCELED`)
pub const SIDESTEP_E_CANCELLED: sidestep_status = 11;

/// The configuration is invalid; the message lists every problem. (`EINVAL`)
pub const SIDESTEP_E_CONFIG: sidestep_status = 100;

/// Configuration from istiod is missing. (`ENETDOWN`, transient)
pub const SIDESTEP_E_CONTROL_PLANE: sidestep_status = 200;
/// This process has no valid certificate. (`EACCES`)
pub const SIDESTEP_E_CREDENTIALS: sidestep_status = 201;

/// Upstream DNS failed. (`EHOSTUNREACH`, transient)
pub const SIDESTEP_E_RESOLVE: sidestep_status = 300;
/// The host does not exist. (`EHOSTUNREACH`)
pub const SIDESTEP_E_UNKNOWN_HOST: sidestep_status = 301;
/// The host has no address of the requested family. (`EHOSTUNREACH`)
pub const SIDESTEP_E_NO_ADDRESS: sidestep_status = 302;

/// The TCP connection failed. (`ECONNREFUSED`, transient)
pub const SIDESTEP_E_DIAL: sidestep_status = 400;
/// The timeout expired. (`ETIMEDOUT`, transient)
pub const SIDESTEP_E_TIMEOUT: sidestep_status = 401;
/// The TLS handshake failed. (`EPROTO`, transient)
pub const SIDESTEP_E_TLS: sidestep_status = 402;
/// The peer's certificate has an unexpected identity. (`EPROTO`)
pub const SIDESTEP_E_PEER_IDENTITY: sidestep_status = 403;
/// The peer accepts only plaintext, and this mesh requires mTLS. (`EACCES`)
pub const SIDESTEP_E_PLAINTEXT_REFUSED: sidestep_status = 404;
/// The service has no usable endpoint. (`EHOSTUNREACH`, transient)
pub const SIDESTEP_E_NO_ENDPOINT: sidestep_status = 405;
/// The service does not have this port. (`ECONNREFUSED`)
pub const SIDESTEP_E_UNKNOWN_PORT: sidestep_status = 406;
/// The DestinationRule's connection limit is reached. (`EBUSY`, transient)
pub const SIDESTEP_E_TOO_MANY_CONNECTIONS: sidestep_status = 408;
/// The address belongs to several services. (`ENOTUNIQ`)
pub const SIDESTEP_E_AMBIGUOUS: sidestep_status = 409;
/// The connection broke. (`ECONNRESET`, transient)
pub const SIDESTEP_E_BROKEN: sidestep_status = 410;
/// A local listener could not be opened. (`EADDRNOTAVAIL`)
pub const SIDESTEP_E_LISTEN: sidestep_status = 411;
/// The host or the port is invalid. (`EINVAL`)
pub const SIDESTEP_E_INVALID_TARGET: sidestep_status = 412;
/// The mesh configuration uses a feature that this library does not support. (`EOPNOTSUPP`)
pub const SIDESTEP_E_UNSUPPORTED: sidestep_status = 413;

/// A system call failed, for example because no descriptor was left. (`EIO`, transient)
pub const SIDESTEP_E_SYSTEM: sidestep_status = 900;
/// The library has a defect. (`EIO`)
pub const SIDESTEP_E_PANIC: sidestep_status = 901;

/// The properties of a status code: name, meaning, `errno`, next step, and whether it is transient.
struct Properties {
    name: &'static CStr,
    text: &'static CStr,
    errno: c_int,
    is_transient: bool,
    next_step: &'static str,
}

/// The properties of a status code that this version of the library does not define.
const UNKNOWN: Properties = lasting(
    c"unknown status",
    c"unknown status code",
    libc::EIO,
    "compile with the sidestep.h of the loaded library",
);

/// Returns the properties of a transient failure: a later call with the same arguments can succeed.
const fn transient(
    name: &'static CStr,
    text: &'static CStr,
    errno: c_int,
    next_step: &'static str,
) -> Properties {
    Properties { name, text, errno, is_transient: true, next_step }
}

/// Returns the properties of a lasting failure: every later call with the same arguments fails, too.
const fn lasting(
    name: &'static CStr,
    text: &'static CStr,
    errno: c_int,
    next_step: &'static str,
) -> Properties {
    Properties { name, text, errno, is_transient: false, next_step }
}

const RUN_EXPLAIN: &str = "call sidestep_explain, which shows every step of the connection";
const CHECK_NAME: &str = "check the name; sidestep_explain shows how it is resolved";

#[expect(clippy::too_many_lines, reason = "one arm for each status code")]
fn properties(status: sidestep_status) -> Properties {
    match status {
        SIDESTEP_OK => lasting(c"SIDESTEP_OK", c"success", 0, ""),
        SIDESTEP_E_NULL_POINTER => lasting(
            c"SIDESTEP_E_NULL_POINTER",
            c"a required pointer is NULL",
            libc::EFAULT,
            "pass a valid pointer",
        ),
        SIDESTEP_E_BAD_HANDLE => lasting(
            c"SIDESTEP_E_BAD_HANDLE",
            c"the handle was freed, or is not a handle",
            libc::EBADF,
            "use the handle only after the call that creates it and before the call that frees it",
        ),
        SIDESTEP_E_WRONG_HANDLE => lasting(
            c"SIDESTEP_E_WRONG_HANDLE",
            c"the handle has another type",
            libc::EINVAL,
            "pass a handle of the type that the function expects",
        ),
        SIDESTEP_E_INVALID_UTF8 => lasting(
            c"SIDESTEP_E_INVALID_UTF8",
            c"a text is not valid UTF-8",
            libc::EILSEQ,
            "encode texts as UTF-8",
        ),
        SIDESTEP_E_INVALID_ARGUMENT => lasting(
            c"SIDESTEP_E_INVALID_ARGUMENT",
            c"an argument has an invalid value",
            libc::EINVAL,
            "see the function's description in sidestep.h",
        ),
        SIDESTEP_E_FORKED => lasting(
            c"SIDESTEP_E_FORKED",
            c"the handle was created before fork(), in the parent process",
            libc::EBADF,
            "join the mesh in the child process, after fork()",
        ),
        SIDESTEP_E_WOULD_DEADLOCK => lasting(
            c"SIDESTEP_E_WOULD_DEADLOCK",
            c"a log callback called a function that blocks",
            libc::EDEADLK,
            "make blocking calls on another thread, or after the callback has returned",
        ),
        SIDESTEP_E_CLOSED => {
            lasting(c"SIDESTEP_E_CLOSED", c"the mesh was shut down", libc::ESHUTDOWN, "join the mesh again")
        }
        SIDESTEP_E_NOT_A_CONNECTION => lasting(
            c"SIDESTEP_E_NOT_A_CONNECTION",
            c"the descriptor is not an open connection of this mesh",
            libc::EBADF,
            "pass an open descriptor that sidestep_connect returned for this mesh",
        ),
        SIDESTEP_E_AGAIN => transient(
            c"SIDESTEP_E_AGAIN",
            c"the queue has no completion",
            libc::EAGAIN,
            "wait until the queue's descriptor is readable",
        ),
        SIDESTEP_E_CANCELLED => lasting(
            c"SIDESTEP_E_CANCELLED",
            c"the operation was cancelled",
            libc::ECANCELED,
            "start the operation again if its result is still needed",
        ),
        SIDESTEP_E_CONFIG => lasting(
            c"SIDESTEP_E_CONFIG",
            c"the configuration is invalid; the message lists every problem",
            libc::EINVAL,
            "correct each file and setting that the message names",
        ),
        SIDESTEP_E_CONTROL_PLANE => transient(
            c"SIDESTEP_E_CONTROL_PLANE",
            c"configuration from istiod is missing",
            libc::ENETDOWN,
            "check that istiod runs and is reachable; sidestep_health shows the state of the connection",
        ),
        SIDESTEP_E_CREDENTIALS => lasting(
            c"SIDESTEP_E_CREDENTIALS",
            c"this process has no valid certificate",
            libc::EACCES,
            "check that the bootstrap token is valid; sidestep_health shows why the certificate request fails",
        ),
        SIDESTEP_E_RESOLVE => {
            transient(c"SIDESTEP_E_RESOLVE", c"upstream DNS failed", libc::EHOSTUNREACH, CHECK_NAME)
        }
        SIDESTEP_E_UNKNOWN_HOST => {
            lasting(c"SIDESTEP_E_UNKNOWN_HOST", c"the host does not exist", libc::EHOSTUNREACH, CHECK_NAME)
        }
        SIDESTEP_E_NO_ADDRESS => lasting(
            c"SIDESTEP_E_NO_ADDRESS",
            c"the host has no address of the requested family",
            libc::EHOSTUNREACH,
            CHECK_NAME,
        ),
        SIDESTEP_E_DIAL => {
            transient(c"SIDESTEP_E_DIAL", c"the TCP connection failed", libc::ECONNREFUSED, RUN_EXPLAIN)
        }
        SIDESTEP_E_TIMEOUT => {
            transient(c"SIDESTEP_E_TIMEOUT", c"the timeout expired", libc::ETIMEDOUT, RUN_EXPLAIN)
        }
        SIDESTEP_E_TLS => {
            transient(c"SIDESTEP_E_TLS", c"the TLS handshake failed", libc::EPROTO, RUN_EXPLAIN)
        }
        SIDESTEP_E_PEER_IDENTITY => lasting(
            c"SIDESTEP_E_PEER_IDENTITY",
            c"the peer's certificate has an unexpected identity",
            libc::EPROTO,
            RUN_EXPLAIN,
        ),
        SIDESTEP_E_PLAINTEXT_REFUSED => lasting(
            c"SIDESTEP_E_PLAINTEXT_REFUSED",
            c"the peer accepts only plaintext, and this mesh requires mTLS",
            libc::EACCES,
            RUN_EXPLAIN,
        ),
        SIDESTEP_E_NO_ENDPOINT => transient(
            c"SIDESTEP_E_NO_ENDPOINT",
            c"the service has no usable endpoint",
            libc::EHOSTUNREACH,
            RUN_EXPLAIN,
        ),
        SIDESTEP_E_UNKNOWN_PORT => lasting(
            c"SIDESTEP_E_UNKNOWN_PORT",
            c"the service does not have this port",
            libc::ECONNREFUSED,
            "use one of the ports that the message names",
        ),
        SIDESTEP_E_TOO_MANY_CONNECTIONS => transient(
            c"SIDESTEP_E_TOO_MANY_CONNECTIONS",
            c"the DestinationRule's connection limit is reached",
            libc::EBUSY,
            "close connections to the service, or raise the limit in the DestinationRule",
        ),
        SIDESTEP_E_AMBIGUOUS => lasting(
            c"SIDESTEP_E_AMBIGUOUS",
            c"the address belongs to several services",
            libc::ENOTUNIQ,
            "connect to the name of the service instead of its address",
        ),
        SIDESTEP_E_BROKEN => {
            transient(c"SIDESTEP_E_BROKEN", c"the connection broke", libc::ECONNRESET, RUN_EXPLAIN)
        }
        SIDESTEP_E_LISTEN => lasting(
            c"SIDESTEP_E_LISTEN",
            c"a local listener could not be opened",
            libc::EADDRNOTAVAIL,
            "choose another address, port or path, or stop the program that uses it",
        ),
        SIDESTEP_E_INVALID_TARGET => lasting(
            c"SIDESTEP_E_INVALID_TARGET",
            c"the host or the port is invalid",
            libc::EINVAL,
            "pass a host name or an IP address, and a port from 1 to 65535",
        ),
        SIDESTEP_E_UNSUPPORTED => lasting(
            c"SIDESTEP_E_UNSUPPORTED",
            c"the mesh configuration uses a feature that this library does not support",
            libc::EOPNOTSUPP,
            RUN_EXPLAIN,
        ),
        SIDESTEP_E_SYSTEM => transient(
            c"SIDESTEP_E_SYSTEM",
            c"a system call failed, for example because no descriptor was left",
            libc::EIO,
            "check this process' limits of descriptors, threads and memory",
        ),
        SIDESTEP_E_PANIC => lasting(
            c"SIDESTEP_E_PANIC",
            c"the library has a defect",
            libc::EIO,
            "report the message to the developers of Sidestep",
        ),
        _ => UNKNOWN,
    }
}

/// Returns the name of a status code, such as "SIDESTEP_E_TIMEOUT". It is "unknown status" for a code that this version
/// does not define, and never NULL. The text is constant and must not be freed.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_status_name(status: sidestep_status) -> *const c_char {
    properties(status).name.as_ptr()
}

/// Returns the meaning of a status code, such as "the timeout expired". It is "unknown status code" for a code that this
/// version does not define, and never NULL. The text is constant and must not be freed.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_status_text(status: sidestep_status) -> *const c_char {
    properties(status).text.as_ptr()
}

/// Returns the `errno` that is closest to a status code: `ETIMEDOUT` for `SIDESTEP_E_TIMEOUT`, for example, and 0 for
/// `SIDESTEP_OK`.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_errno(status: sidestep_status) -> c_int {
    properties(status).errno
}

/// Returns the status code for a kind of `mesh_connector` error.
pub(crate) fn of(kind: ErrorKind) -> sidestep_status {
    match kind {
        ErrorKind::Ambiguous => SIDESTEP_E_AMBIGUOUS,
        ErrorKind::Closed => SIDESTEP_E_CLOSED,
        ErrorKind::Config => SIDESTEP_E_CONFIG,
        ErrorKind::ControlPlane => SIDESTEP_E_CONTROL_PLANE,
        ErrorKind::Credentials => SIDESTEP_E_CREDENTIALS,
        ErrorKind::Dial => SIDESTEP_E_DIAL,
        ErrorKind::Exchange => SIDESTEP_E_BROKEN,
        ErrorKind::InvalidTarget => SIDESTEP_E_INVALID_TARGET,
        ErrorKind::Listen => SIDESTEP_E_LISTEN,
        ErrorKind::LocalResource => SIDESTEP_E_SYSTEM,
        ErrorKind::NoEndpoint => SIDESTEP_E_NO_ENDPOINT,
        ErrorKind::PeerIdentity => SIDESTEP_E_PEER_IDENTITY,
        ErrorKind::PlaintextRefused => SIDESTEP_E_PLAINTEXT_REFUSED,
        ErrorKind::Resolve => SIDESTEP_E_RESOLVE,
        ErrorKind::Timeout => SIDESTEP_E_TIMEOUT,
        ErrorKind::Tls => SIDESTEP_E_TLS,
        ErrorKind::TooManyConnections => SIDESTEP_E_TOO_MANY_CONNECTIONS,
        ErrorKind::UnknownHost => SIDESTEP_E_UNKNOWN_HOST,
        ErrorKind::UnknownPort => SIDESTEP_E_UNKNOWN_PORT,
        ErrorKind::Unsupported => SIDESTEP_E_UNSUPPORTED,
        // `UnknownSubset` does not occur, because no function takes a subset. New kinds have no code yet.
        _ => SIDESTEP_E_BROKEN,
    }
}

/// Returns the status code for a kind of `mesh_resolver` error.
pub(crate) fn of_lookup(kind: ResolveKind) -> sidestep_status {
    match kind {
        ResolveKind::Config => SIDESTEP_E_CONFIG,
        ResolveKind::InvalidName => SIDESTEP_E_INVALID_TARGET,
        ResolveKind::Listen | ResolveKind::NoLocalAddress => SIDESTEP_E_LISTEN,
        ResolveKind::NameNotFound => SIDESTEP_E_UNKNOWN_HOST,
        ResolveKind::NoRecords => SIDESTEP_E_NO_ADDRESS,
        ResolveKind::NotReady => SIDESTEP_E_CONTROL_PLANE,
        ResolveKind::Timeout => SIDESTEP_E_TIMEOUT,
        _ => SIDESTEP_E_RESOLVE,
    }
}

/// Returns the `getaddrinfo` code that is closest to a status code.
pub(crate) fn eai(status: sidestep_status) -> c_int {
    match status {
        SIDESTEP_OK => 0,
        SIDESTEP_E_UNKNOWN_HOST | SIDESTEP_E_INVALID_TARGET => libc::EAI_NONAME,
        SIDESTEP_E_NO_ADDRESS => libc::EAI_NODATA,
        SIDESTEP_E_UNKNOWN_PORT => libc::EAI_SERVICE,
        SIDESTEP_E_RESOLVE | SIDESTEP_E_TIMEOUT | SIDESTEP_E_CONTROL_PLANE => libc::EAI_AGAIN,
        _ => libc::EAI_FAIL,
    }
}

/// Returns the next step of a status code, for errors that have no more specific next step.
pub(crate) fn next_step(status: sidestep_status) -> &'static str {
    properties(status).next_step
}

/// Returns whether a call that failed with this status can succeed later with the same arguments.
pub(crate) fn is_transient(status: sidestep_status) -> bool {
    properties(status).is_transient
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

    fn text(pointer: *const c_char) -> &'static str {
        // SAFETY: both functions return constant texts.
        unsafe { CStr::from_ptr(pointer) }.to_str().unwrap()
    }

    #[test]
    fn every_code_has_the_name_text_and_errno_of_its_documentation() {
        let source = include_str!("status.rs");
        let lines: Vec<_> = source.lines().collect();
        let mut count = 0;
        for pair in lines.windows(2) {
            let Some(constant) = pair[1].strip_prefix("pub const ") else { continue };
            let (name, value) = constant.split_once(": sidestep_status = ").unwrap();
            let status = value.trim_end_matches(';').parse().unwrap();
            let documented = pair[0].strip_prefix("/// ").unwrap();
            let (meaning, properties) = documented.split_once(" (`").unwrap_or((documented, ""));
            let errno = properties.split('`').next().unwrap();
            assert_eq!(is_transient(status), properties.contains(", transient"), "{name}");
            let expected = NAMES.iter().find(|(name, _)| *name == errno).map_or(0, |(_, number)| *number);
            assert_eq!(sidestep_errno(status), expected, "{name}");
            assert_eq!(text(sidestep_status_name(status)), name);
            let meaning = meaning.trim_end_matches('.');
            assert_eq!(text(sidestep_status_text(status)).to_lowercase(), meaning.to_lowercase());
            assert_eq!(next_step(status).is_empty(), status == SIDESTEP_OK, "{name}");
            count += 1;
        }
        assert_eq!(count, 33);
    }

    #[test]
    fn no_status_has_a_code_that_refers_to_errno() {
        assert!((-1..1000).all(|status| eai(status) != libc::EAI_SYSTEM));
    }

    #[test]
    fn an_unknown_code_has_a_name_and_a_text() {
        for status in [-1, 12, 407, i32::MIN, i32::MAX] {
            assert_eq!(text(sidestep_status_name(status)), "unknown status");
            assert_eq!(text(sidestep_status_text(status)), "unknown status code");
            assert_eq!(sidestep_errno(status), libc::EIO);
        }
    }
}
