//! The steps that every call from C shares: catching panics, and creating error objects.

use std::ptr;

use crate::{
    arguments::Out,
    error::{ErrorObject, sidestep_error},
    failure::{Failure, guarded},
    handle,
    status::{SIDESTEP_OK, sidestep_status},
};

/// Runs `work`, and returns the status of the call. If `work` fails and `err` is not `None`, stores an error object in
/// `err`, or leaves it NULL if no error object can be created.
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
            err.set(error_object(failure));
        }
        codes
    })
}

/// Creates an error object. Returns NULL if the program has too many error objects; the call can then still return its
/// status.
pub(crate) fn error_object(failure: Failure) -> *mut sidestep_error {
    guarded(|| handle::create(ErrorObject::from(failure))).unwrap_or(ptr::null_mut())
}

/// The status code and the `getaddrinfo` code of a failure.
pub(crate) struct FailureCodes {
    pub(crate) status: sidestep_status,
    pub(crate) eai: libc::c_int,
}
