//! What belongs to the threads of one mesh: its metrics and its log go where the mesh is, and nowhere else, because the
//! facades that the crates below use look at the thread first.

use std::{cell::RefCell, sync::Arc};

use metrics::LocalRecorderGuard;
use tracing::{Dispatch, dispatcher::DefaultGuard};

use crate::{counted::Counted, log::Gate};

/// Where a mesh's threads report to.
#[derive(Clone)]
pub(crate) struct Reports {
    pub(crate) counted: Arc<Counted>,
    pub(crate) log: Option<Dispatch>,
    /// Through which the log goes.
    pub(crate) gate: Arc<Gate>,
}

struct Reporting {
    // Fields are dropped in this order: the guard before what it is about.
    _metrics: LocalRecorderGuard<'static>,
    _counted: Arc<Counted>,
    _log: Option<DefaultGuard>,
}

thread_local! {
    static REPORTING: RefCell<Option<Reporting>> = const { RefCell::new(None) };
}

/// At the start of a thread.
pub(crate) fn begin(reports: &Reports) {
    crate::signals::block_all();
    let counted = reports.counted.clone();
    // SAFETY: what counts lives as long as `REPORTING` keeps it, which lets go of the guard first; on no other way does
    // the reference leave this function.
    let forever: &'static Counted = unsafe { &*Arc::as_ptr(&counted) };
    let guard = metrics::set_default_local_recorder(forever);
    let log = reports.log.as_ref().map(tracing::dispatcher::set_default);
    REPORTING.set(Some(Reporting { _metrics: guard, _counted: counted, _log: log }));
}

/// Whether this is a mesh's thread, and no thread of the program's.
pub(crate) fn is_a_meshs() -> bool {
    REPORTING.try_with(|reporting| reporting.borrow().is_some()).unwrap_or(true)
}

/// At its end.
pub(crate) fn end() {
    REPORTING.take();
}

/// `begin` for a thread that is not the runtime's; what it returns is dropped at the thread's end.
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
