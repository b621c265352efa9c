//! What an operation came to.

use std::{
    ffi::c_void,
    os::fd::{IntoRawFd as _, OwnedFd},
    ptr,
};

use libc::{addrinfo, c_int};

use crate::{
    addresses::Addresses,
    error::{ErrorObject, sidestep_error},
    failure::Failure,
    handle,
    status::{SIDESTEP_OK, sidestep_status},
    text::{self, sidestep_text},
};

/// What an operation came to. What is in it belongs to the program.
///
/// It does not change within an ABI version.
#[derive(Debug)]
#[repr(C)]
pub struct sidestep_completion {
    /// What the program gave when it started the operation.
    pub user_data: *mut c_void,
    /// The number that the operation was given when it was started.
    pub operation: u64,
    /// What it came to.
    pub status: sidestep_status,
    /// The same for an operation that asked for addresses: 0 or an EAI_ code.
    pub eai: c_int,
    /// The descriptor of a connection; -1 for none.
    pub fd: i32,
    /// Zero.
    pub reserved: i32,
    /// The explanation, for `sidestep_text_free`; NULL for none.
    pub text: *mut sidestep_text,
    /// The addresses, for `sidestep_freeaddrinfo`; NULL for none.
    pub addresses: *mut addrinfo,
    /// Why it failed, for `sidestep_error_free`; NULL where it did not.
    pub error: *mut sidestep_error,
}

/// One that waits to be fetched. Dropped, it takes what it holds with it.
#[derive(Debug)]
pub(crate) struct Completion {
    /// The pointer's number: it is the program's, and only handed back.
    pub(crate) user_data: usize,
    pub(crate) operation: u64,
    pub(crate) outcome: Result<Value, Failure>,
}

#[derive(Debug)]
pub(crate) enum Value {
    Addresses { found: Addresses, flags: c_int },
    Descriptor(OwnedFd),
    Nothing,
    Text(String),
}

impl sidestep_completion {
    pub(crate) const NOTHING: Self = Self {
        user_data: ptr::null_mut(),
        operation: 0,
        status: SIDESTEP_OK,
        eai: 0,
        fd: -1,
        reserved: 0,
        text: ptr::null_mut(),
        addresses: ptr::null_mut(),
        error: ptr::null_mut(),
    };
}

impl From<Completion> for sidestep_completion {
    fn from(completion: Completion) -> Self {
        let mut told = Self {
            user_data: ptr::with_exposed_provenance_mut(completion.user_data),
            operation: completion.operation,
            ..Self::NOTHING
        };
        match completion.outcome {
            Ok(Value::Addresses { found, flags }) => told.addresses = found.into_list(flags),
            Ok(Value::Descriptor(fd)) => told.fd = fd.into_raw_fd(),
            Ok(Value::Nothing) => {}
            Ok(Value::Text(text)) => told.text = text::give(&text),
            Err(failure) => {
                (told.status, told.eai) = (failure.status, failure.eai());
                told.error = handle::give(ErrorObject::from(failure));
            }
        }
        told
    }
}
