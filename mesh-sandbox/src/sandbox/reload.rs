//! Following the folder: its files are looked at ten times a second, and read when one has changed.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::changes::Changes;
use crate::event::Event;
use crate::yaml::{Folder, Stamp};

const EVERY: Duration = Duration::from_millis(100);

/// Runs until the task ends. What cannot be used is reported, and the last good mesh stays.
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
                tracing::warn!(%error, "the mesh folder cannot be used; the last good mesh stays");
                Event::ReloadFailed { error: error.to_string() }
            }
        };
        changes.events.record(event);
    }
}
