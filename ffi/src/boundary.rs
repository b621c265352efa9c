//! The steps that every call from C shares: catching panics, and creating error objects.

use crate::{
    arguments::Out,
    error::{ErrorObject, sidestep_error},
    failure::{Failure, guarded},
    handle,
    status::{SIDESTEP_OK, sidestep_status},
};

/// Runs the work of a call that returns a status. A failure becomes an error object if the caller passed a place for one.
pub(crate) fn call(
    err: Option<Out<'_, *mut sidestep_error>>,
    work: impl FnOnce() -> Result<(), Failure>,
) -> sidestep_status {
    outcome(err, guarded(work)).map_or_else(|failure| failure.status, |()| SIDESTEP_OK)
}

/// Turns a failure into an error object if the caller passed a place for one, and returns its codes.
pub(crate) fn outcome<T>(
    err: Option<Out<'_, *mut sidestep_error>>,
    outcome: Result<T, Failure>,
) -> Result<T, FailureCodes> {
    outcome.map_err(|failure| {
        let codes = FailureCodes { status: failure.status, eai: failure.eai() };
        if let Some(err) = err {
            err.set(handle::create(ErrorObject::from(failure)));
        }
        codes
    })
}

/// The codes of a failure.
pub(crate) struct FailureCodes {
    pub(crate) status: sidestep_status,
    pub(crate) eai: libc::c_int,
}
