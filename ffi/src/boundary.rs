//! The steps that every call from C shares: catching panics, and creating error objects.

use crate::{
    arguments::Out,
    error::{ErrorObject, sidestep_error},
    failure::{Failure, guarded},
    handle,
    status::{SIDESTEP_OK, sidestep_status},
};

/// Runs `work`, and returns the status of the call. If `work` fails and `err` is not `None`, stores an error object in
/// `err`.
pub(crate) fn call(
    err: Option<Out<'_, *mut sidestep_error>>,
    work: impl FnOnce() -> Result<(), Failure>,
) -> sidestep_status {
    outcome(err, guarded(work)).map_or_else(|failure| failure.status, |()| SIDESTEP_OK)
}

/// Returns the value of `outcome`, or the codes of its failure. If `outcome` is a failure and `err` is not `None`,
/// stores an error object in `err`.
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

/// The status code and the `getaddrinfo` code of a failure.
pub(crate) struct FailureCodes {
    pub(crate) status: sidestep_status,
    pub(crate) eai: libc::c_int,
}
