//! The error object.

use std::{
    error::Error,
    ffi::{CString, c_char, c_int},
    io,
};

use crate::{
    arguments::{c_string, pointer},
    handle::{self, Kind},
    status::{self, SIDESTEP_BAD_HANDLE, SIDESTEP_SYSTEM, sidestep_status},
};

/// Why a call failed: code, message, next step.
#[derive(Debug)]
pub struct sidestep_error(());

/// Why a call failed, on its way to C.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: sidestep_status,
    pub(crate) message: String,
    next: String,
    /// Where `getaddrinfo` has a number of its own for it.
    pub(crate) eai: Option<c_int>,
}

impl Failure {
    pub(crate) fn new(status: sidestep_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), next: status::next_step(status).to_owned(), eai: None }
    }

    pub(crate) fn of_system(what: &str, error: &io::Error) -> Self {
        Self::new(SIDESTEP_SYSTEM, format!("{what}: {error}"))
    }

    /// Where the usual next step is another's.
    pub(crate) fn with_next_step_of(self, status: sidestep_status) -> Self {
        Self { next: status::next_step(status).to_owned(), ..self }
    }

    pub(crate) fn with_eai(self, eai: c_int) -> Self {
        Self { eai: Some(eai), ..self }
    }

    pub(crate) fn eai(&self) -> c_int {
        self.eai.unwrap_or_else(|| status::eai(self.status))
    }
}

/// No descriptor is left, to the process or to the system, whatever it was wanted for.
const OUT_OF_DESCRIPTORS: [Option<c_int>; 2] = [Some(libc::EMFILE), Some(libc::ENFILE)];

impl From<mesh_connector::Error> for Failure {
    fn from(error: mesh_connector::Error) -> Self {
        if OUT_OF_DESCRIPTORS.contains(&error.raw_os_error()) {
            return Self::new(SIDESTEP_SYSTEM, error.report());
        }
        let mut failure = Self::new(status::of(error.kind()), error.report());
        if !error.candidates().is_empty() {
            failure.next = format!("possible causes: {}", error.candidates().join("; "));
        }
        failure
    }
}

impl From<mesh_resolver::Error> for Failure {
    fn from(error: mesh_resolver::Error) -> Self {
        let system = error.source().and_then(|source| source.downcast_ref::<io::Error>()?.raw_os_error());
        if OUT_OF_DESCRIPTORS.contains(&system) {
            return Self::new(SIDESTEP_SYSTEM, error.report());
        }
        Self::new(status::of_lookup(error.kind()), error.report())
    }
}

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
