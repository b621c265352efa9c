//! Error objects, from which C programs read why a call failed.

use std::ffi::{CString, c_char, c_int};

use crate::{
    arguments::{c_string, pointer},
    failure::Failure,
    handle::{self, Kind},
    status::{SIDESTEP_E_BAD_HANDLE, sidestep_status},
};

/// The reason why a call failed: status code, message and next step.
#[derive(Debug)]
pub struct sidestep_error(());

/// The object behind a `sidestep_error` handle.
pub(crate) struct ErrorObject {
    status: sidestep_status,
    is_transient: bool,
    message: CString,
    next_step: CString,
}

impl Kind for ErrorObject {
    type C = sidestep_error;
    const TAG: u8 = 1;
    const NAME: &'static str = "sidestep_error";
    const MANY: usize = 10_000;
}

impl From<Failure> for ErrorObject {
    fn from(failure: Failure) -> Self {
        Self {
            status: failure.status,
            is_transient: failure.is_transient,
            message: c_string(&failure.message),
            next_step: c_string(&failure.next_step),
        }
    }
}

/// Returns the status code of an error, or `SIDESTEP_E_BAD_HANDLE` if `error` is not a valid handle.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_status(error: *const sidestep_error) -> sidestep_status {
    handle::read(error, SIDESTEP_E_BAD_HANDLE, |error: &ErrorObject| error.status)
}

/// Returns the message of an error: one line with the failed step and its cause, including the hosts, files, settings,
/// endpoints and identities involved. The text belongs to the error. Returns NULL if `error` is not a valid handle.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_message(error: *const sidestep_error) -> *const c_char {
    handle::read(error, pointer(None), |error: &ErrorObject| pointer(Some(&error.message)))
}

/// Returns the next step of an error: an action of the user or the program that can remove the cause. The text belongs
/// to the error. Returns NULL if `error` is not a valid handle.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_next_step(error: *const sidestep_error) -> *const c_char {
    handle::read(error, pointer(None), |error: &ErrorObject| pointer(Some(&error.next_step)))
}

/// Returns 1 if a retry of the call can succeed without a change of its arguments or of the configuration. Returns 0 if
/// such a retry cannot succeed, or if `error` is not a valid handle.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_is_transient(error: *const sidestep_error) -> c_int {
    handle::read(error, 0, |error: &ErrorObject| c_int::from(error.is_transient))
}

/// Frees an error. Does nothing if `error` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_free(error: *mut sidestep_error) -> sidestep_status {
    handle::free::<ErrorObject>(error)
}
