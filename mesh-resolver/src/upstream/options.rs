//! The resolver options of resolv.conf(5).

use std::{net::SocketAddr, time::Duration};

/// The effective servers, search list and options.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ResolverOptions {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    pub(super) ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
    pub(super) rotate: bool,
    /// Whether queries have an OPT record (`edns0`).
    pub(super) edns: bool,
    /// Whether queries use TCP immediately (`use-vc`).
    pub(super) tcp: bool,
    /// Whether AAAA queries are suppressed (`no-aaaa`).
    pub(super) no_aaaa: bool,
}

impl Default for ResolverOptions {
    /// Returns glibc's defaults.
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
