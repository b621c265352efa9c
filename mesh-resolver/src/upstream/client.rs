//! Upstream DNS that follows the host's files.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sidestep_util::file_stamp::FileStamp;

use super::{Upstream, nss::Nss, own::Own, state::State};
use crate::{
    answer::{Lookup, Source},
    error::Error,
};

/// Asks upstream DNS. Changes of resolv.conf and of the `hosts` file count soon after they are made.
pub(crate) struct Client {
    upstream: Upstream,
    state: ArcSwap<State>,
    files: Vec<PathBuf>,
    seen: Mutex<Seen>,
    own: Arc<Own>,
    nss: Option<Nss>,
}

/// The files as they were when they were last looked at.
struct Seen {
    at: Instant,
    stamps: Vec<Option<FileStamp>>,
}

/// The files are looked at no more often.
const INTERVAL: Duration = Duration::from_secs(1);

impl Client {
    /// # Errors
    ///
    /// `Config` where the settings cannot be used. A host without usable configuration is no error here, but one at
    /// each question.
    pub(crate) fn new(upstream: Upstream) -> Result<Self, Error> {
        let files = upstream.files();
        // Before they are read: a change in between is seen as one.
        let seen = Seen { at: Instant::now(), stamps: stamps(&files) };
        let own = Arc::default();
        let state = ArcSwap::from_pointee(State::new(&upstream, &own, None)?);
        let nss = Nss::new(&upstream);
        Ok(Self { upstream, state, files, seen: Mutex::new(seen), own, nss })
    }

    /// Where this process answers DNS by this upstream.
    #[cfg(all(feature = "listener", unix))]
    pub(crate) fn own(&self) -> &Own {
        &self.own
    }

    /// What the system's own lookup knows about a name that DNS has no address for.
    pub(crate) async fn ask_the_system(&self, host: &str) -> Option<Lookup> {
        let ips = self.nss.as_ref()?.addresses(host).await;
        let canonical = host.trim_end_matches('.').to_ascii_lowercase();
        let lookup =
            || Lookup::new(ips.iter().copied().collect(), &canonical, Source::System, Duration::ZERO);
        (!ips.is_empty()).then(lookup)
    }

    /// As things are now.
    pub(crate) fn state(&self) -> Arc<State> {
        self.look_at(Instant::now());
        self.state.load_full()
    }

    /// Reads the files again where they have changed. What cannot be used does not replace what can: a file may be
    /// half written, and is then looked at again.
    fn look_at(&self, now: Instant) {
        // Whoever finds somebody else looking goes by what there is.
        let Some(mut seen) = self.seen.try_lock() else { return };
        if self.files.is_empty() || now.saturating_duration_since(seen.at) < INTERVAL {
            return;
        }
        seen.at = now;
        let stamps = stamps(&self.files);
        if stamps == seen.stamps {
            return;
        }
        seen.stamps = stamps;
        let before = self.state.load();
        match State::new(&self.upstream, &self.own, Some(&**before)) {
            Ok(state) if state.is_usable() || !before.is_usable() => {
                tracing::info!("the host's DNS configuration has changed");
                self.state.store(Arc::new(state));
            }
            Ok(_) => {
                tracing::warn!("the host's DNS configuration has become unusable: the last good one stays")
            }
            Err(error) => {
                tracing::warn!(error = %error.report(), "the host's DNS configuration cannot be read again");
            }
        }
    }
}

/// `None` while a file is not there.
fn stamps(files: &[PathBuf]) -> Vec<Option<FileStamp>> {
    files.iter().map(|file| FileStamp::from_path(file).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn wrote(dir: &tempfile::TempDir, text: &str) -> PathBuf {
        let file = dir.path().join("resolv.conf");
        fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn a_changed_resolv_conf_counts_and_an_unusable_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = wrote(&dir, "nameserver 192.0.2.1\nsearch a.example\n");
        let client = Client::new(Upstream::resolv_conf(&file)).unwrap();
        let search = |later: u64| {
            client.look_at(Instant::now() + INTERVAL * u32::try_from(later).unwrap());
            client.state.load().search().to_vec()
        };
        wrote(&dir, "nameserver 192.0.2.1\nsearch longer.example\n");
        assert_eq!(search(0), ["a.example"], "not looked at yet");
        assert_eq!(search(2), ["longer.example"]);
        wrote(&dir, "");
        assert_eq!(search(4), ["longer.example"]);
        fs::remove_file(&file).unwrap();
        assert_eq!(search(6), ["longer.example"]);
        wrote(&dir, "nameserver 192.0.2.1\nsearch again.example\n");
        assert_eq!(search(8), ["again.example"]);
    }

    /// As editors and network managers do it.
    #[cfg(unix)]
    #[test]
    fn a_file_that_takes_the_place_of_another_counts_although_it_is_as_long_and_as_old() {
        let dir = tempfile::tempdir().unwrap();
        let file = wrote(&dir, "nameserver 192.0.2.1\nsearch one.example\n");
        let client = Client::new(Upstream::resolv_conf(&file)).unwrap();
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        let new = dir.path().join("resolv.conf.new");
        fs::write(&new, "nameserver 192.0.2.1\nsearch two.example\n").unwrap();
        fs::File::open(&new).unwrap().set_modified(written).unwrap();
        fs::rename(&new, &file).unwrap();
        client.look_at(Instant::now() + INTERVAL * 2);
        assert_eq!(client.state.load().search(), ["two.example"]);
    }

    #[test]
    fn a_file_that_appears_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(Upstream::resolv_conf(dir.path().join("resolv.conf"))).unwrap();
        assert!(!client.state.load().is_usable());
        wrote(&dir, "nameserver 192.0.2.1\n");
        client.look_at(Instant::now() + INTERVAL * 2);
        assert!(client.state.load().is_usable());
    }
}
