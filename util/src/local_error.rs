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

/// Returns the next step for the user, as a text, if [`is_local_resource`] is true for the error. Returns `None` for
/// other errors.
pub fn next_step(error: &io::Error) -> Option<&'static str> {
    if !is_local_resource(error) {
        return None;
    }
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::MFILE) => {
                return Some(
                    "this process has no file descriptor left: raise RLIMIT_NOFILE (`ulimit -n`, `LimitNOFILE=` of \
                     systemd), or open fewer connections and files",
                );
            }
            Some(Errno::NFILE) => return Some("this host has no file descriptor left: raise `fs.file-max`"),
            _ => {}
        }
    }
    Some(match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "this host has no free local port (`net.ipv4.ip_local_port_range`), or no address of the required IP family: \
             open fewer connections, or configure an address"
        }
        _ => "this host has no memory left for sockets: open fewer connections",
    })
}

/// Returns whether the error means that this process can open no socket at all at the moment. `EADDRNOTAVAIL` does not
/// mean this: it can concern only one IP family, or only one peer.
pub fn is_exhausted(error: &io::Error) -> bool {
    is_local_resource(error) && error.kind() != io::ErrorKind::AddrNotAvailable
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
        assert!(is_exhausted(&Errno::MFILE.into()) && !is_exhausted(&Errno::ADDRNOTAVAIL.into()));
        assert!(next_step(&Errno::MFILE.into()).unwrap().contains("RLIMIT_NOFILE"));
        assert!(next_step(&Errno::ADDRNOTAVAIL.into()).unwrap().contains("ip_local_port_range"));
        assert_eq!(next_step(&Errno::CONNREFUSED.into()), None);
    }
}
