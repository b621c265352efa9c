//! How the servers are asked, and the search list.

use std::{net::SocketAddr, time::Duration};

/// Servers, search list and options, as they will be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Effective {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
    pub(super) rotate: bool,
    /// Whether questions have an OPT record.
    pub(super) edns: bool,
    /// Whether questions go over TCP at once.
    pub(super) tcp: bool,
    /// Whether IPv6 addresses are not asked for.
    pub(super) no_aaaa: bool,
}

impl Default for Effective {
    /// glibc's defaults.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            edns: false,
            tcp: false,
            no_aaaa: false,
        }
    }
}
