//! What every call from C passes on its way in and out.

use crate::{
    arguments::Out,
    error::{ErrorObject, sidestep_error},
    failure::{Failure, guarded},
    handle,
    status::{SIDESTEP_OK, sidestep_status},
};

/// Runs a call's work. A failure becomes the error object, if one is asked for.
pub(crate) fn call(
    err: Option<Out<'_, *mut sidestep_error>>,
    work: impl FnOnce() -> Result<(), Failure>,
) -> sidestep_status {
    outcome(err, guarded(work)).map_or_else(|failure| failure.status, |()| SIDESTEP_OK)
}

/// The same for a call that answers otherwise than by a status.
pub(crate) fn outcome<T>(
    err: Option<Out<'_, *mut sidestep_error>>,
    outcome: Result<T, Failure>,
) -> Result<T, Failed> {
    outcome.map_err(|failure| {
        let failed = Failed { status: failure.status, eai: failure.eai() };
        if let Some(err) = err {
            err.set(handle::give(ErrorObject::from(failure)));
        }
        failed
    })
}

/// What is left of a failure when its error object has been given away.
pub(crate) struct Failed {
    pub(crate) status: sidestep_status,
    pub(crate) eai: libc::c_int,
}
