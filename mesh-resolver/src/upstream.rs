//! Upstream DNS, which resolves names outside the mesh.
//!
//! It behaves like the host's resolver: the `hosts` file comes first, the search list completes names, and the
//! servers of resolv.conf are tried in order, one at a time. It never uses a public resolver.

mod addresses;
mod cache;
mod client;
mod config;
mod exchange;
mod failure;
mod file;
mod hosts;
mod hosts_file;
mod nss;
mod observe;
mod options;
mod reload;
mod resolv_conf;
mod self_addresses;
mod sockets;
mod state;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

#[cfg(feature = "listener")]
pub(crate) use self::exchange::Transport;
#[cfg(any(feature = "hickory", feature = "listener"))]
pub(crate) use self::failure::NoAnswer;
#[cfg(fuzzing)]
pub(crate) use self::hosts::Hosts;
pub(crate) use self::{
    failure::Failure, observe::name_queried, reload::ReloadingUpstream, sockets::SocketLimit,
};

/// The settings of upstream DNS, which resolves names outside the mesh.
///
/// # Defaults
///
/// * The host's `hosts` file is read first, for any choice of servers.
/// * [`system`](Self::system) and [`resolv_conf`](Self::resolv_conf) take the search list, `ndots`, `timeout`,
///   `attempts` and `rotate` from resolv.conf, and respect `edns0`, `use-vc` and `no-aaaa`.
///   [`servers`](Self::servers) has no search list and uses the defaults of resolv.conf: `ndots` 1, 5 seconds, 2
///   attempts, no rotation.
/// * [`system`](Self::system) uses `getaddrinfo` as the last source if nsswitch.conf lists sources that this crate
///   does not read.
/// * Before istiod's first name table, names with one or two labels are not sent upstream.
/// * Stale answers are returned for up to one day while no server answers.
///
/// Changes of resolv.conf and of the `hosts` file take effect within a second or, for a large `hosts` file, when it has
/// been read; a thread for blocking work reads it. An unusable new version is ignored.
/// The search domain of the resolver's [`SearchScope`](crate::SearchScope) does not change.
///
/// # Queries
///
/// The servers are queried one at a time, in order, for `attempts` rounds, over UDP and, if the answer is truncated,
/// over TCP. If a server does not answer or returns SERVFAIL, NOTIMP or REFUSED, the next one is queried. Simultaneous
/// equal queries are sent once. Each query has a connected socket of its own, with a random port. A
/// `listener::DnsListener` of the same resolver is never queried. A query that returns to the listener through another
/// server is not sent again.
///
/// At most 1024 queries, and at most as many as a quarter of the file descriptors that the process may still open
/// (`RLIMIT_NOFILE`), are sent simultaneously. Clones of the settings share this limit. Further queries wait for at
/// most `timeout`, and then fail with [`ErrorKind::LocalResource`](crate::ErrorKind::LocalResource), as do queries for
/// which the process has no file descriptor left.
///
/// # Cache
///
/// Positive answers are cached for their TTL, at most one day; negative answers for the TTL of their SOA record, at
/// most three hours (RFC 2308). The cache uses at most about 2 MB.
///
/// If no server answers within 1.8 seconds, an expired positive answer is returned with a TTL of 30 seconds, and the
/// servers are queried again after 30 seconds (RFC 8767). [`Source::Stale`](crate::Source::Stale) marks such an
/// answer. Expired negative answers are never returned.
#[derive(Clone, Debug)]
pub struct Upstream {
    servers: Servers,
    hosts: HostsSetting,
    search: Option<Vec<String>>,
    ndots: Option<usize>,
    timeout: Option<Duration>,
    attempts: Option<usize>,
    rotate: Option<bool>,
    stale: Duration,
    getaddrinfo: Option<bool>,
    pub(crate) short_names_before_first_table: bool,
    sockets: Arc<SocketLimit>,
}

/// The default maximum age of stale answers. RFC 8767 §5 suggests one to three days.
const STALE: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
enum Servers {
    Given(Vec<SocketAddr>),
    None,
    ResolvConf(PathBuf),
    System,
}

#[derive(Clone, Debug)]
enum HostsSetting {
    File(PathBuf),
    None,
    System,
}

impl Upstream {
    /// Uses the host's configuration, `/etc/resolv.conf`.
    ///
    /// If the file is unreadable or contains no server, mesh names still resolve, and lookups of other names fail with
    /// [`ErrorKind::Config`](crate::ErrorKind::Config).
    #[must_use]
    pub fn system() -> Self {
        Self::from(Servers::System)
    }

    /// Uses a file in the format of resolv.conf.
    ///
    /// If the file is unreadable or contains no server, mesh names still resolve, and lookups of other names fail with
    /// [`ErrorKind::Config`](crate::ErrorKind::Config).
    #[must_use]
    pub fn resolv_conf(file: impl Into<PathBuf>) -> Self {
        Self::from(Servers::ResolvConf(file.into()))
    }

    /// Uses the given DNS servers.
    #[must_use]
    pub fn servers(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::from(Servers::Given(servers.into_iter().collect()))
    }

    /// Disables upstream DNS and the `hosts` file: a name outside the mesh is not found.
    #[must_use]
    pub fn none() -> Self {
        Self::from(Servers::None).without_hosts_file()
    }

    /// Sets the search list: the domains that are appended to a name. A name with fewer than `ndots` dots is tried
    /// with these domains first, then unchanged; any other name is tried unchanged first. A name with a trailing dot
    /// is not completed.
    #[must_use]
    pub fn with_search_domains<D: Into<String>>(self, domains: impl IntoIterator<Item = D>) -> Self {
        Self { search: Some(domains.into_iter().map(Into::into).collect()), ..self }
    }

    /// Sets the minimum number of dots with which a name is tried unchanged before the search list.
    #[must_use]
    pub fn with_ndots(self, ndots: usize) -> Self {
        Self { ndots: Some(ndots), ..self }
    }

    /// Sets the time limit for one query to one server.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Sets the number of rounds in which all servers are queried. Zero means one.
    #[must_use]
    pub fn with_attempts(self, attempts: usize) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// Sets whether successive queries start with different servers, instead of always with the first one.
    #[must_use]
    pub fn with_rotation(self, rotate: bool) -> Self {
        Self { rotate: Some(rotate), ..self }
    }

    /// Sets the time for which a positive answer may be returned after its TTL has expired, while no server answers.
    /// Zero disables stale answers.
    #[must_use]
    pub fn with_max_stale_age(self, limit: Duration) -> Self {
        Self { stale: limit, ..self }
    }

    /// Sets whether the system's `getaddrinfo` resolves names that DNS does not know or cannot resolve.
    ///
    /// This covers other sources in nsswitch.conf, such as multicast DNS or a directory service. The calls run on the
    /// blocking threads of the runtime, at most eight simultaneously, and cannot be cancelled.
    #[must_use]
    pub fn with_getaddrinfo(self, asked: bool) -> Self {
        Self { getaddrinfo: Some(asked), ..self }
    }

    /// Sets the path of the `hosts` file, a regular file of at most 64 MiB.
    ///
    /// Lines with an invalid address or name are ignored and reported in the log.
    #[must_use]
    pub fn with_hosts_file(self, file: impl Into<PathBuf>) -> Self {
        Self { hosts: HostsSetting::File(file.into()), ..self }
    }

    /// Disables the `hosts` file.
    #[must_use]
    pub fn without_hosts_file(self) -> Self {
        Self { hosts: HostsSetting::None, ..self }
    }

    /// Sets whether names with one or two labels are sent upstream before istiod's first name table. By default they
    /// wait for the table, because they may be names of the mesh: `forecast.weather`.
    ///
    /// With `true`, an upstream answer that arrives before the table is used. An attacker on the network or in the
    /// upstream servers can then answer for a service of the mesh, until the first table arrives.
    #[must_use]
    pub fn with_short_names_before_first_table(self, sent: bool) -> Self {
        Self { short_names_before_first_table: sent, ..self }
    }

    fn from(servers: Servers) -> Self {
        Self {
            servers,
            hosts: HostsSetting::System,
            search: None,
            ndots: None,
            timeout: None,
            attempts: None,
            rotate: None,
            stale: STALE,
            getaddrinfo: None,
            short_names_before_first_table: false,
            sockets: Arc::default(),
        }
    }
}

impl Default for Upstream {
    /// Returns [`Upstream::system`].
    fn default() -> Self {
        Self::system()
    }
}

/// Parses a resolv.conf, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn parse_resolv_conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let options = resolv_conf::parse(&text, &text);
    assert!(options.servers.len() <= 3 && options.ndots <= 15 && (1..=5).contains(&options.attempts));
    assert!((1..=30).contains(&options.timeout.as_secs()));
}

/// Caches and parses bytes from a server, for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn cache_and_parse(bytes: &[u8]) {
    use std::time::Instant;

    use hickory_resolver::proto::rr::{Name, RecordType};

    use crate::dns::{
        header::HEADER,
        question::{self, Question},
    };

    let (cache, start) = (cache::Cache::new(STALE), Instant::now());
    if let Some(question) = Question::from_message(bytes) {
        cache.insert(question.clone(), bytes, start);
        for seconds in [0, 1, 60, 100_000, 10_000_000] {
            match cache.get(&question, start + Duration::from_secs(seconds)) {
                cache::CacheLookup::Fresh(cached) | cache::CacheLookup::Stale { answer: cached, .. } => {
                    assert_eq!(cached.len(), bytes.len());
                }
                cache::CacheLookup::Miss => {}
            }
        }
    }
    let _ = question::is_answer(bytes, bytes);
    let mut answer = bytes.to_vec();
    if bytes.len() >= HEADER {
        question::copy_question(&mut answer, bytes);
        assert_eq!(answer, bytes);
    }
    for kind in [RecordType::A, RecordType::AAAA] {
        let _ = addresses::read(bytes, &Name::root(), kind, None);
    }
}
