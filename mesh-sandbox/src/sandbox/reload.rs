//! The reload of the mesh folder: its files are checked ten times per second and read after a change.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::changes::Changes;
use crate::events::Event;
use crate::yaml::{Folder, Stamp};

const EVERY: Duration = Duration::from_millis(100);

/// Reloads the folder after each change, until the future is dropped. An invalid folder is reported as `ReloadFailed`,
/// and the previous mesh stays in use.
pub(super) async fn watch(changes: Changes, folder: PathBuf, mut seen: Stamp) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Folder::stamp(&folder);
        if now == seen {
            continue;
        }
        seen = now;
        let event = match Folder::read(&folder).and_then(|folder| changes.make(|state| state.reload(folder)))
        {
            Ok(difference) if difference.changed.is_empty() && difference.removed.is_empty() => continue,
            Ok(difference) => Event::Reloaded { changed: difference.changed, removed: difference.removed },
            Err(error) => {
                tracing::warn!(%error, "failed to reload the mesh folder; the previous mesh stays in use");
                Event::ReloadFailed { error: error.to_string() }
            }
        };
        changes.events.record(event);
    }
}
