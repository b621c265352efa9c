//! Upstream DNS that reloads the host's files.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sidestep_util::file_stamp::FileStamp;

#[cfg(all(feature = "listener", unix))]
use super::sockets::SocketLimit;
use super::{
    Upstream,
    hosts_file::HostsFile,
    nss::Nss,
    self_addresses::SelfAddresses,
    state::{UpstreamState, is_localhost},
};
use crate::{
    answer::{Lookup, Source},
    error::Error,
};

/// The upstream DNS of a resolver. It reloads resolv.conf and the `hosts` file when they change.
pub(crate) struct ReloadingUpstream {
    upstream: Upstream,
    state: ArcSwap<UpstreamState>,
    options_file: Option<PathBuf>,
    hosts: Option<HostsFile>,
    last_check: Mutex<LastCheck>,
    self_addresses: Arc<SelfAddresses>,
    nss: Option<Nss>,
}

/// The state of the files at the last check.
struct LastCheck {
    at: Instant,
    options: Option<FileStamp>,
    hosts: Option<FileStamp>,
}

/// The minimum time between two checks of the files.
const INTERVAL: Duration = Duration::from_secs(1);

impl ReloadingUpstream {
    /// Reads resolv.conf. The `hosts` file is read when it is needed.
    ///
    /// # Errors
    ///
    /// `Config`: the settings are invalid. An unusable configuration of the host is not an error here; each query
    /// reports it.
    pub(crate) fn new(upstream: Upstream) -> Result<Self, Error> {
        let (options_file, hosts) = (upstream.options_file(), upstream.hosts_file()?);
        // The check precedes the reading, so that a change in between is detected later.
        let last_check = LastCheck {
            at: Instant::now(),
            options: stamp(options_file.as_deref()),
            hosts: stamp(hosts.as_ref().map(HostsFile::path)),
        };
        let last_check = Mutex::new(last_check);
        let self_addresses = Arc::default();
        let state = ArcSwap::from_pointee(UpstreamState::new(&upstream, &self_addresses, None)?);
        let nss = Nss::new(&upstream);
        Ok(Self { upstream, state, options_file, hosts, last_check, self_addresses, nss })
    }

    /// Returns the limit on sockets of this upstream DNS.
    #[cfg(all(feature = "listener", unix))]
    pub(crate) fn sockets(&self) -> &Arc<SocketLimit> {
        &self.upstream.sockets
    }

    /// Looks a name up in the `hosts` file. `localhost` always has an answer.
    pub(crate) async fn hosts_answer(&self, host: &str) -> Option<Lookup> {
        self.reload_if_changed(Instant::now());
        let mut found: Vec<IpAddr> = match &self.hosts {
            Some(hosts) => hosts.contents().await.addresses(host).collect(),
            None => Vec::new(),
        };
        found.sort_by_key(IpAddr::is_ipv6);
        if found.is_empty() && is_localhost(host) {
            found.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        let canonical = host.trim_end_matches('.').to_ascii_lowercase();
        let lookup =
            || Lookup::new(found.iter().copied().collect(), &canonical, Source::HostsFile, Duration::ZERO);
        (!found.is_empty()).then(lookup)
    }

    /// Returns the addresses of the DNS listeners of this resolver.
    #[cfg(all(feature = "listener", unix))]
    pub(crate) fn self_addresses(&self) -> &SelfAddresses {
        &self.self_addresses
    }

    /// Looks up a name with `getaddrinfo`, for a name without an address in DNS.
    pub(crate) async fn query_getaddrinfo(&self, host: &str) -> Option<Lookup> {
        let ips = self.nss.as_ref()?.addresses(host).await;
        let canonical = host.trim_end_matches('.').to_ascii_lowercase();
        let lookup =
            || Lookup::new(ips.iter().copied().collect(), &canonical, Source::GetAddrInfo, Duration::ZERO);
        (!ips.is_empty()).then(lookup)
    }

    /// Returns the current state, reloaded if resolv.conf has changed.
    pub(crate) fn state(&self) -> Arc<UpstreamState> {
        self.reload_if_changed(Instant::now());
        self.state.load_full()
    }

    /// Reloads the files if they have changed. An unusable version does not replace a usable one, because the file
    /// may be partially written. Its next change triggers another reload.
    fn reload_if_changed(&self, now: Instant) {
        // Another thread is checking the files: use the current state.
        let Some(mut last_check) = self.last_check.try_lock() else { return };
        if now.saturating_duration_since(last_check.at) < INTERVAL {
            return;
        }
        last_check.at = now;
        if let Some(hosts) = &self.hosts
            && changed(&mut last_check.hosts, hosts.path())
        {
            hosts.set_changed();
        }
        if let Some(file) = &self.options_file
            && changed(&mut last_check.options, file)
        {
            self.reload_options();
        }
    }

    fn reload_options(&self) {
        let before = self.state.load();
        match UpstreamState::new(&self.upstream, &self.self_addresses, Some(&**before)) {
            Ok(state) if state.is_usable() || !before.is_usable() => {
                tracing::info!("the host's DNS configuration has changed and is reloaded");
                self.state.store(Arc::new(state));
            }
            Ok(_) => {
                tracing::warn!("the host's new DNS configuration is unusable: the previous one stays in use")
            }
            Err(error) => {
                let error = error.report();
                tracing::warn!(%error, "the new DNS settings of the host are invalid: the previous ones stay in use");
            }
        }
    }
}

/// Returns the stamp of a file, `None` for a missing file.
fn stamp(file: Option<&Path>) -> Option<FileStamp> {
    FileStamp::from_path(file?).ok()
}

/// Updates the stamp and returns whether it differs from the previous one.
fn changed(known: &mut Option<FileStamp>, file: &Path) -> bool {
    let now = stamp(Some(file));
    let changed = now != *known;
    *known = now;
    changed
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(dir: &tempfile::TempDir, text: &str) -> PathBuf {
        let file = dir.path().join("resolv.conf");
        fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn a_changed_resolv_conf_is_reloaded_and_an_unusable_one_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(&dir, "nameserver 192.0.2.1\nsearch a.example\n");
        let client = ReloadingUpstream::new(Upstream::resolv_conf(&file)).unwrap();
        let search = |later: u64| {
            client.reload_if_changed(Instant::now() + INTERVAL * u32::try_from(later).unwrap());
            client.state.load().search().to_vec()
        };
        written(&dir, "nameserver 192.0.2.1\nsearch longer.example\n");
        assert_eq!(search(0), ["a.example"], "not checked yet");
        assert_eq!(search(2), ["longer.example"]);
        written(&dir, "");
        assert_eq!(search(4), ["longer.example"]);
        fs::remove_file(&file).unwrap();
        assert_eq!(search(6), ["longer.example"]);
        written(&dir, "nameserver 192.0.2.1\nsearch again.example\n");
        assert_eq!(search(8), ["again.example"]);
    }

    /// Editors and network managers replace files in this way.
    #[cfg(unix)]
    #[test]
    fn a_replaced_file_with_the_same_size_and_time_is_reloaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = written(&dir, "nameserver 192.0.2.1\nsearch one.example\n");
        let client = ReloadingUpstream::new(Upstream::resolv_conf(&file)).unwrap();
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        let new = dir.path().join("resolv.conf.new");
        fs::write(&new, "nameserver 192.0.2.1\nsearch two.example\n").unwrap();
        fs::File::open(&new).unwrap().set_modified(written).unwrap();
        fs::rename(&new, &file).unwrap();
        client.reload_if_changed(Instant::now() + INTERVAL * 2);
        assert_eq!(client.state.load().search(), ["two.example"]);
    }

    #[test]
    fn a_file_that_is_created_later_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let client = ReloadingUpstream::new(Upstream::resolv_conf(dir.path().join("resolv.conf"))).unwrap();
        assert!(!client.state.load().is_usable());
        written(&dir, "nameserver 192.0.2.1\n");
        client.reload_if_changed(Instant::now() + INTERVAL * 2);
        assert!(client.state.load().is_usable());
    }
}
