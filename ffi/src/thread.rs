//! The metrics recorder and the log of a mesh. The threads of the mesh set them as thread-local defaults. So each mesh
//! has its own metrics and log, and the global defaults of the program do not change.

use std::{cell::RefCell, sync::Arc};

use metrics::LocalRecorderGuard;
use tracing::{Dispatch, dispatcher::DefaultGuard};

use crate::{log::Gate, recorder::MeshRecorder};

/// The metrics recorder and the log of a mesh.
#[derive(Clone)]
pub(crate) struct Reports {
    pub(crate) recorder: Arc<MeshRecorder>,
    pub(crate) log: Option<Dispatch>,
    /// The gate that stops log callbacks when the mesh is freed.
    pub(crate) gate: Arc<Gate>,
}

struct Reporting {
    // Fields are dropped in this order: the guard refers to the recorder.
    _metrics: LocalRecorderGuard<'static>,
    _recorder: Arc<MeshRecorder>,
    _log: Option<DefaultGuard>,
}

thread_local! {
    static REPORTING: RefCell<Option<Reporting>> = const { RefCell::new(None) };
}

/// Sets the recorder and the log of the current thread. Called when a thread of a mesh starts.
pub(crate) fn begin(reports: &Reports) {
    crate::signals::block_all();
    let recorder = reports.recorder.clone();
    // SAFETY: `REPORTING` holds the recorder, and drops the guard before it. The reference is used only for the guard.
    let forever: &'static MeshRecorder = unsafe { &*Arc::as_ptr(&recorder) };
    let guard = metrics::set_default_local_recorder(forever);
    let log = reports.log.as_ref().map(tracing::dispatcher::set_default);
    REPORTING.set(Some(Reporting { _metrics: guard, _recorder: recorder, _log: log }));
}

/// Returns whether the current thread belongs to a mesh.
pub(crate) fn belongs_to_mesh() -> bool {
    REPORTING.try_with(|reporting| reporting.borrow().is_some()).unwrap_or(true)
}

/// Removes the recorder and the log of the current thread. Called when a thread of a mesh ends.
pub(crate) fn end() {
    REPORTING.take();
}

/// Calls `begin`, and calls `end` when the returned value is dropped. This is for threads that the runtime does not
/// start.
pub(crate) fn begun(reports: &Reports) -> impl Drop + use<> {
    struct Begun;

    impl Drop for Begun {
        fn drop(&mut self) {
            end();
        }
    }

    begin(reports);
    Begun
}
