//! Combines the settings with the host's files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sidestep_util::error::ErrorCore;

use super::{HostsSetting, Servers, Upstream, file, hosts_file::HostsFile, options::ResolverOptions};
use crate::error::{Error, ErrorKind};

/// The reason why the host's DNS configuration is unusable.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{file}")]
pub(crate) struct HostConfigError {
    file: String,
    source: Arc<io::Error>,
}

impl Upstream {
    /// Returns the resolver options. The outer error concerns the settings, the inner one the host's configuration.
    pub(super) fn resolver_options(&self) -> Result<Result<ResolverOptions, HostConfigError>, Error> {
        let read = match &self.servers {
            Servers::Given(servers) if servers.is_empty() => {
                return Err(Error::of_setup(ErrorCore::new(
                    ErrorKind::Config,
                    "the list of upstream DNS servers is empty: pass at least one server, or use Upstream::none()",
                )));
            }
            Servers::Given(servers) => {
                Ok(ResolverOptions { servers: servers.clone(), ..ResolverOptions::default() })
            }
            Servers::None => Ok(ResolverOptions::default()),
            Servers::ResolvConf(file) => resolv_conf(file).map_err(|source| unusable(file, source)),
            Servers::System => system().map_err(|source| {
                unusable(
                    self.servers.file().unwrap_or(Path::new("the DNS configuration of the system")),
                    source,
                )
            }),
        };
        Ok(read.map(|options| self.override_with_settings(options)))
    }

    fn override_with_settings(&self, read: ResolverOptions) -> ResolverOptions {
        let search = self.search.clone().unwrap_or(read.search);
        let search = search.iter().map(|domain| domain.trim_matches('.').to_ascii_lowercase());
        ResolverOptions {
            search: search.filter(|domain| !domain.is_empty()).collect(),
            ndots: self.ndots.unwrap_or(read.ndots),
            timeout: self.timeout.unwrap_or(read.timeout),
            attempts: self.attempts.unwrap_or(read.attempts).max(1),
            rotate: self.rotate.unwrap_or(read.rotate),
            ..read
        }
    }

    /// Returns the file that the options are read from.
    pub(super) fn options_file(&self) -> Option<PathBuf> {
        self.servers.file().map(Path::to_owned)
    }

    /// Returns the `hosts` file without reading it.
    ///
    /// # Errors
    ///
    /// `Config`: a file that the settings name does not exist or is not a regular file. The host's own file may be
    /// missing.
    pub(super) fn hosts_file(&self) -> Result<Option<HostsFile>, Error> {
        match &self.hosts {
            HostsSetting::None => Ok(None),
            HostsSetting::System => Ok(Some(HostsFile::new(system_hosts().to_owned()))),
            HostsSetting::File(file) => {
                file::check(file).map_err(|error| {
                    let message = format!(
                        "the hosts file {} cannot be read: check that it exists, is a regular file, and is readable",
                        file.display()
                    );
                    Error::of_setup(ErrorCore::new(ErrorKind::Config, message).with_source(error))
                })?;
                Ok(Some(HostsFile::new(file.clone())))
            }
        }
    }
}

fn system_hosts() -> &'static Path {
    Path::new(if cfg!(windows) { r"C:\Windows\System32\drivers\etc\hosts" } else { "/etc/hosts" })
}

impl Servers {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Given(_) | Self::None => None,
            Self::ResolvConf(file) => Some(file),
            Self::System => cfg!(unix).then_some(Path::new("/etc/resolv.conf")),
        }
    }
}

/// The maximum size of a resolv.conf in bytes.
const MAX_SIZE: u32 = 1 << 20;

/// Reads a file in the format of resolv.conf. A file without a DNS server is an error, because another program is most
/// likely writing the file.
fn resolv_conf(file: &Path) -> io::Result<ResolverOptions> {
    let text = file::read(file, MAX_SIZE)?;
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let options = super::resolv_conf::parse(&String::from_utf8_lossy(&text), &host_name);
    match options.servers.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "the file contains no valid nameserver line")),
        false => Ok(options),
    }
}

#[cfg(unix)]
fn system() -> io::Result<ResolverOptions> {
    resolv_conf(Path::new("/etc/resolv.conf"))
}

/// Reads the DNS configuration of an operating system other than Unix, with hickory.
#[cfg(not(unix))]
fn system() -> io::Result<ResolverOptions> {
    let (config, options) = hickory_resolver::system_conf::read_system_conf().map_err(io::Error::other)?;
    let (_, search, servers) = config.into_parts();
    Ok(ResolverOptions {
        servers: servers.iter().map(|server| std::net::SocketAddr::new(server.ip, 53)).collect(),
        search: search.iter().map(|domain| domain.to_ascii()).collect(),
        ndots: options.ndots,
        timeout: options.timeout,
        attempts: options.attempts,
        ..ResolverOptions::default()
    })
}

fn unusable(file: &Path, source: io::Error) -> HostConfigError {
    HostConfigError { file: file.display().to_string(), source: source.into() }
}
