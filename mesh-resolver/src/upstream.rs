//! Upstream DNS: who answers for names that the mesh does not know.
//!
//! It asks as the host's own resolver would: the servers of resolv.conf in their order and one at a time, its search
//! list, its `hosts` file first. It never asks anybody else: there is no public resolver behind it.

mod ask;
mod cache;
mod client;
mod config;
mod exchange;
mod failure;
mod found;
mod nss;
mod observe;
mod options;
mod own;
mod resolv_conf;
mod state;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

#[cfg(feature = "listener")]
pub(crate) use self::exchange::Transport;
#[cfg(any(feature = "hickory", feature = "listener"))]
pub(crate) use self::failure::NoAnswer;
pub(crate) use self::{client::Client, failure::Failure, observe::asked};

/// Who answers for names that the mesh does not know: settings.
///
/// # Defaults
///
/// * the host's `hosts` file comes first, whichever servers are asked;
/// * search list, `ndots`, `timeout`, `attempts` and `rotate` are resolv.conf's for [`system`](Self::system) and
///   [`resolv_conf`](Self::resolv_conf); with servers given by the caller there is no search list, and the others
///   are resolv.conf's defaults: 1, 5 seconds, 2, no rotation. `edns0`, `use-vc` and `no-aaaa` are heeded too;
/// * `getaddrinfo` is asked last where [`system`](Self::system) finds sources in nsswitch.conf that it does not know;
/// * answers are given for up to a day after their time where no server answers.
///
/// Changes of resolv.conf and of the `hosts` file count within a second; a file that has become unusable does not. The
/// search domain that the [`Scope`](crate::Scope) took from resolv.conf stays what it was.
///
/// # How the servers are asked
///
/// One at a time, in the order given, `attempts` times around, over UDP and, where an answer is truncated, over TCP. A
/// server that does not answer, or answers SERVFAIL, NOTIMP or REFUSED, makes way for the next. Equal questions on their
/// way at once are one. A [`DnsListener`](crate::listener::DnsListener) over the same resolver is never asked, and what
/// comes back to it by way of others is asked only once.
///
/// Answers are kept for as long as they say, at most a day; denials as long as their SOA record says, at most three
/// hours (RFC 2308). What is kept is bounded: about 2 MB. Where no server answers, or not within 1.8 seconds, the last
/// answer is given with a TTL of 30 seconds, and the servers are asked again after 30 seconds (RFC 8767);
/// [`Source::Stale`](crate::Source::Stale) says so. A denial is never given after its time.
#[derive(Clone, Debug)]
pub struct Upstream {
    servers: Servers,
    hosts: HostsFile,
    search: Option<Vec<String>>,
    ndots: Option<usize>,
    timeout: Option<Duration>,
    attempts: Option<usize>,
    rotate: Option<bool>,
    stale: Duration,
    getaddrinfo: Option<bool>,
}

/// RFC 8767 §5 suggests one to three days.
const STALE: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
enum Servers {
    Given(Vec<SocketAddr>),
    None,
    ResolvConf(PathBuf),
    System,
}

#[derive(Clone, Debug)]
enum HostsFile {
    File(PathBuf),
    None,
    System,
}

impl Upstream {
    /// The host's own configuration: `/etc/resolv.conf`.
    ///
    /// Where it cannot be read, or names no server, mesh names still resolve, and each other name fails with
    /// [`ErrorKind::Config`](crate::ErrorKind::Config).
    #[must_use]
    pub fn system() -> Self {
        Self::from(Servers::System)
    }

    /// A file in the format of resolv.conf.
    ///
    /// Where it cannot be read, or names no server, mesh names still resolve, and each other name fails with
    /// [`ErrorKind::Config`](crate::ErrorKind::Config).
    #[must_use]
    pub fn resolv_conf(file: impl Into<PathBuf>) -> Self {
        Self::from(Servers::ResolvConf(file.into()))
    }

    /// These name servers, and no others.
    #[must_use]
    pub fn servers(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::from(Servers::Given(servers.into_iter().collect()))
    }

    /// Nobody: a name that the mesh does not know is not found. The `hosts` file is not read either.
    #[must_use]
    pub fn none() -> Self {
        Self::from(Servers::None).without_hosts_file()
    }

    /// Sets the search list: the domains that are tried behind names with fewer than `ndots` dots, and behind all
    /// others after the name itself. Names with a trailing dot are never searched for.
    #[must_use]
    pub fn with_search<D: Into<String>>(self, domains: impl IntoIterator<Item = D>) -> Self {
        Self { search: Some(domains.into_iter().map(Into::into).collect()), ..self }
    }

    /// Sets how many dots make a name that is asked for as it is before the search list.
    #[must_use]
    pub fn with_ndots(self, ndots: usize) -> Self {
        Self { ndots: Some(ndots), ..self }
    }

    /// Sets how long one server may take to answer one question.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Sets how many times all servers are asked; 0 means 1.
    #[must_use]
    pub fn with_attempts(self, attempts: usize) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// Sets whether each question begins with the next server in turn, instead of always with the first.
    #[must_use]
    pub fn with_rotation(self, rotate: bool) -> Self {
        Self { rotate: Some(rotate), ..self }
    }

    /// Sets for how long after its time an answer may still be given where no server answers; zero for not at all.
    #[must_use]
    pub fn with_stale_answers(self, limit: Duration) -> Self {
        Self { stale: limit, ..self }
    }

    /// Sets whether the system's own `getaddrinfo` is asked for names that DNS does not know or cannot be asked for:
    /// for sources behind nsswitch.conf, such as multicast DNS or a directory service. It runs on a thread of the
    /// runtime's, eight at once, and cannot be cancelled.
    #[must_use]
    pub fn with_getaddrinfo(self, asked: bool) -> Self {
        Self { getaddrinfo: Some(asked), ..self }
    }

    /// Sets the `hosts` file.
    #[must_use]
    pub fn with_hosts_file(self, file: impl Into<PathBuf>) -> Self {
        Self { hosts: HostsFile::File(file.into()), ..self }
    }

    /// Leaves the `hosts` file alone.
    #[must_use]
    pub fn without_hosts_file(self) -> Self {
        Self { hosts: HostsFile::None, ..self }
    }

    fn from(servers: Servers) -> Self {
        Self {
            servers,
            hosts: HostsFile::System,
            search: None,
            ndots: None,
            timeout: None,
            attempts: None,
            rotate: None,
            stale: STALE,
            getaddrinfo: None,
        }
    }
}

impl Default for Upstream {
    /// [`Upstream::system`].
    fn default() -> Self {
        Self::system()
    }
}

/// What becomes of bytes that come from a server: for the fuzzer.
#[cfg(fuzzing)]
pub(crate) fn keep_and_read(bytes: &[u8]) {
    use std::time::Instant;

    use hickory_resolver::proto::rr::{Name, RecordType};

    use crate::dns::{
        header::HEADER,
        question::{self, Question},
    };

    let (cache, start) = (cache::Cache::new(STALE), Instant::now());
    if let Some(question) = Question::of(bytes) {
        cache.put(question.clone(), bytes, start);
        for seconds in [0, 1, 60, 100_000, 10_000_000] {
            match cache.get(&question, start + Duration::from_secs(seconds)) {
                cache::Found::Fresh(kept) | cache::Found::Stale { answer: kept, .. } => {
                    assert_eq!(kept.len(), bytes.len());
                }
                cache::Found::Nothing => {}
            }
        }
    }
    let _ = question::is_answer(bytes, bytes);
    let mut answer = bytes.to_vec();
    if bytes.len() >= HEADER {
        question::address_to(&mut answer, bytes);
        assert_eq!(answer, bytes);
    }
    for kind in [RecordType::A, RecordType::AAAA] {
        let _ = found::read(bytes, &Name::root(), kind, None);
    }
}
