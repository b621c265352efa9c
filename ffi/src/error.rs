//! The error object.

use std::ffi::{CString, c_char, c_int};

use crate::{
    arguments::{c_string, pointer},
    failure::Failure,
    handle::{self, Kind},
    status::{self, SIDESTEP_BAD_HANDLE, sidestep_status},
};

/// Why a call failed: code, message, next step.
#[derive(Debug)]
pub struct sidestep_error(());

/// What a handle of an error stands for.
pub(crate) struct ErrorObject {
    status: sidestep_status,
    message: CString,
    next: CString,
}

impl Kind for ErrorObject {
    type C = sidestep_error;
    const TAG: u8 = 1;
    const NAME: &'static str = "sidestep_error";
}

impl From<Failure> for ErrorObject {
    fn from(failure: Failure) -> Self {
        Self { status: failure.status, message: c_string(&failure.message), next: c_string(&failure.next) }
    }
}

/// The error's code; `SIDESTEP_BAD_HANDLE` where `error` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_code(error: *const sidestep_error) -> sidestep_status {
    handle::get::<ErrorObject>(error).map_or(SIDESTEP_BAD_HANDLE, |error| error.status)
}

/// What failed and why, on one line, naming hosts, files, keys, endpoints and identities as far as they are known. It
/// belongs to the error. NULL where `error` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_message(error: *const sidestep_error) -> *const c_char {
    handle::get::<ErrorObject>(error).map_or_else(|_| pointer(None), |error| pointer(Some(&error.message)))
}

/// What to do about it. It belongs to the error. NULL where `error` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_next_step(error: *const sidestep_error) -> *const c_char {
    handle::get::<ErrorObject>(error).map_or_else(|_| pointer(None), |error| pointer(Some(&error.next)))
}

/// The number of `errno` that is nearest to a code: `ETIMEDOUT` for `SIDESTEP_TIMEOUT`, `ECONNREFUSED` for
/// `SIDESTEP_DIAL`, and so on; 0 for `SIDESTEP_OK`.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_errno(code: sidestep_status) -> c_int {
    status::errno(code)
}

/// Frees an error. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_error_free(error: *mut sidestep_error) -> sidestep_status {
    handle::free::<ErrorObject>(error)
}
