//! From settings and the host's files to what the client needs.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use hickory_resolver::{
    Hosts,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::NetError,
    proto::rr::Name,
    system_conf,
};

use super::{HostsFile, Servers, Upstream};
use crate::{Error, ErrorKind};

/// Servers, search list and options, as they will be used.
#[derive(Clone, Debug)]
pub(super) struct Effective {
    pub(super) servers: Vec<NameServerConfig>,
    pub(super) search: Vec<String>,
    pub(super) options: ResolverOpts,
    pub(super) rotate: bool,
}

/// Why the host's configuration cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{file}")]
pub(crate) struct Unusable {
    file: String,
    source: NetError,
}

impl Upstream {
    /// What the settings and the host's files amount to; the inner error is the host's, the outer the caller's.
    pub(super) fn effective(&self) -> Result<Result<Effective, Unusable>, Error> {
        let read = match &self.servers {
            Servers::Given(servers) if servers.is_empty() => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "",
                    "an upstream without name servers: give at least one, or use Upstream::none()",
                ));
            }
            Servers::Given(servers) => Ok((given(servers), ResolverOpts::default())),
            Servers::None => Ok((ResolverConfig::from_name_servers(Vec::new()), ResolverOpts::default())),
            Servers::ResolvConf(file) => resolv_conf(file).map_err(|source| unusable(file, source)),
            Servers::System => system_conf::read_system_conf()
                .map_err(|source| unusable(Path::new("the system's DNS configuration"), source)),
        };
        Ok(read.map(|(config, options)| self.overrule(config, options)))
    }

    fn overrule(&self, config: ResolverConfig, mut options: ResolverOpts) -> Effective {
        let (domain, search, servers) = config.into_parts();
        // resolv.conf(5): the local domain name counts only where there is no search list. hickory would try both.
        let search = if search.is_empty() { Vec::from_iter(domain) } else { search };
        let search = self.search.clone().unwrap_or_else(|| search.iter().map(Name::to_ascii).collect());
        let search = search.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase());
        options.ndots = self.ndots.unwrap_or(options.ndots);
        options.timeout = self.timeout.unwrap_or(options.timeout);
        options.attempts = self.attempts.unwrap_or(options.attempts).max(1);
        let search = search.filter(|domain| !domain.is_empty()).collect();
        let rotate = self.rotate.unwrap_or_else(|| self.servers.file().is_some_and(rotates));
        Effective { servers, search, options, rotate }
    }

    /// The files that all this is read from.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let hosts = match &self.hosts {
            HostsFile::File(file) => Some(&**file),
            HostsFile::None => None,
            HostsFile::System => Some(Path::new("/etc/hosts")),
        };
        self.servers.file().into_iter().chain(hosts).map(Path::to_owned).collect()
    }

    /// The names of the `hosts` file.
    ///
    /// # Errors
    ///
    /// `Config` where a file that the caller named cannot be read. The host's own may be missing.
    pub(super) fn hosts(&self) -> Result<Hosts, Error> {
        match &self.hosts {
            HostsFile::None => Ok(Hosts::default()),
            HostsFile::System => Ok(Hosts::from_system().unwrap_or_else(|error| {
                tracing::warn!(%error, "the hosts file cannot be read and is left out");
                Hosts::default()
            })),
            HostsFile::File(file) => {
                let mut hosts = Hosts::default();
                File::open(file).and_then(|opened| hosts.read_hosts_conf(opened)).map_err(|error| {
                    let message = format!("the hosts file {} cannot be read", file.display());
                    Error::new(ErrorKind::Config, "", message).because_of(error)
                })?;
                Ok(hosts)
            }
        }
    }
}

impl Servers {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Given(_) | Self::None => None,
            Self::ResolvConf(file) => Some(file),
            Self::System => Some(Path::new("/etc/resolv.conf")),
        }
    }
}

/// Whether a resolv.conf says `options rotate`, which hickory does not read.
fn rotates(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut options = text.lines().filter_map(|line| line.trim_start().strip_prefix("options"));
    options.any(|options| options.split_whitespace().any(|option| option == "rotate"))
}

fn given(servers: &[SocketAddr]) -> ResolverConfig {
    let with_port = |mut connection: ConnectionConfig, port| {
        connection.port = port;
        connection
    };
    let server = |server: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
            .map(|connection| with_port(connection, server.port()));
        NameServerConfig::new(server.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

#[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
fn resolv_conf(file: &Path) -> Result<(ResolverConfig, ResolverOpts), NetError> {
    system_conf::parse_resolv_conf(std::fs::read(file)?)
}

#[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
fn resolv_conf(_: &Path) -> Result<(ResolverConfig, ResolverOpts), NetError> {
    Err(NetError::from("files in the format of resolv.conf are not read on this system"))
}

fn unusable(file: &Path, source: NetError) -> Unusable {
    Unusable { file: file.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_is_read_from_the_options() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("resolv.conf");
        for (text, expected) in [
            ("options ndots:5 rotate\n", true),
            ("nameserver 192.0.2.1\n options rotate timeout:1\n", true),
            ("search rotate\noptions norotate\n", false),
            ("# options rotate\n", false),
        ] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(rotates(&file), expected, "{text}");
        }
    }
}
