//! Errors of a socket call whose cause is this process or this host, and not the peer.

use std::io;

/// Returns whether a socket could not be opened or connected because this process or this host has no resources left:
/// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`, and `EADDRNOTAVAIL`, which `connect` returns if no local port is free.
///
/// Such an error says nothing about the peer, so it must not count against an endpoint.
pub fn is_local_resource(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let local = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
        Errno::from_io_error(error).is_some_and(|errno| local.contains(&errno))
    }
    #[cfg(not(unix))]
    {
        matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn missing_descriptors_are_local_and_a_refused_connection_is_not() {
        use rustix::io::Errno;
        assert!(is_local_resource(&Errno::MFILE.into()));
        assert!(is_local_resource(&Errno::ADDRNOTAVAIL.into()));
        assert!(!is_local_resource(&Errno::CONNREFUSED.into()));
        assert!(!is_local_resource(&io::Error::other("a text")));
    }
}
