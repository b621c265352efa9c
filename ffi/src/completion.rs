//! Completions: the results of operations of a queue.

use std::{
    ffi::c_void,
    os::fd::{IntoRawFd as _, OwnedFd},
    ptr,
    sync::Arc,
};

use libc::{addrinfo, c_int};
use mesh_connector::{DetachedStream, bridge::Bridge};

use crate::{
    addresses::Addresses,
    boundary::error_object,
    bridge::{BridgeObject, sidestep_bridge},
    dns::{self, Dns, sidestep_dns},
    error::sidestep_error,
    failure::Failure,
    handle,
    mesh::Member,
    status::{SIDESTEP_OK, sidestep_status},
    stream::{Stream, sidestep_stream},
    text::{self, sidestep_text},
};

/// The result of an operation of a queue. The program owns every object in it, and frees or closes them.
///
/// The layout does not change within an ABI version.
#[derive(Debug)]
#[repr(C)]
pub struct sidestep_completion {
    /// The pointer that the program passed when it started the operation.
    pub user_data: *mut c_void,
    /// The number of the operation, which the call that started the operation stored in `*operation`.
    pub operation: u64,
    /// `SIDESTEP_OK`, or the reason why the operation failed.
    pub status: sidestep_status,
    /// The result of a name resolution: 0 or an EAI_ code for `gai_strerror`. 0 for other operations.
    pub eai: c_int,
    /// The descriptor that `sidestep_queue_connect` opened, else -1. Close it with `close`.
    pub fd: c_int,
    /// Always 0.
    pub reserved: c_int,
    /// The explanation that `sidestep_queue_explain` created, else NULL. Free it with `sidestep_text_free`.
    pub text: *mut sidestep_text,
    /// The addresses of a name resolution or of `sidestep_queue_bridge_listen_local`, else NULL. Free them with
    /// `sidestep_freeaddrinfo`.
    pub addresses: *mut addrinfo,
    /// The stream that `sidestep_queue_stream_connect` opened, else NULL. Free it with `sidestep_stream_free`.
    pub stream: *mut sidestep_stream,
    /// The bridge that `sidestep_queue_bridge_start` started, else NULL. Free it with `sidestep_bridge_free`.
    pub bridge: *mut sidestep_bridge,
    /// The DNS server that `sidestep_queue_dns_start` started, else NULL. Free it with `sidestep_dns_free`.
    pub dns: *mut sidestep_dns,
    /// The error if the operation failed, else NULL. Free it with `sidestep_error_free`.
    pub error: *mut sidestep_error,
}

/// A completion that the program has not fetched. Dropping the completion closes and frees the result of the operation.
#[derive(Debug)]
pub(crate) struct Completion {
    /// The address in the pointer `user_data` that the program passed. The library does not dereference it.
    pub(crate) user_data: usize,
    pub(crate) operation: u64,
    pub(crate) kind: OperationKind,
    pub(crate) outcome: Result<Value, Failure>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum OperationKind {
    /// A name resolution, whose completion has an EAI_ code.
    Resolution,
    Other,
}

/// The result of an operation that succeeded.
#[derive(Debug)]
pub(crate) enum Value {
    Addresses { found: Addresses, flags: c_int },
    Bridge(Box<Bridge>),
    Descriptor(OwnedFd),
    Dns(Box<dns::Started>),
    Nothing,
    Stream(Box<DetachedStream>),
    Text(String),
}

impl sidestep_completion {
    pub(crate) const EMPTY: Self = Self {
        user_data: ptr::null_mut(),
        operation: 0,
        status: SIDESTEP_OK,
        eai: 0,
        fd: -1,
        reserved: 0,
        text: ptr::null_mut(),
        addresses: ptr::null_mut(),
        stream: ptr::null_mut(),
        bridge: ptr::null_mut(),
        dns: ptr::null_mut(),
        error: ptr::null_mut(),
    };
}

impl Completion {
    /// Converts the completion to its C form. Creates the handles of its objects, which the program then owns. `member`
    /// is the mesh of the queue.
    pub(crate) fn into_c(self, member: &Arc<Member>) -> sidestep_completion {
        let mut result = sidestep_completion {
            user_data: ptr::with_exposed_provenance_mut(self.user_data),
            operation: self.operation,
            ..sidestep_completion::EMPTY
        };
        let created = self.outcome.and_then(|value| {
            match value {
                Value::Addresses { found, flags } => result.addresses = found.into_list(flags),
                Value::Bridge(bridge) => {
                    result.bridge = handle::create(BridgeObject::new(*bridge, member.clone()))?;
                }
                Value::Descriptor(fd) => result.fd = fd.into_raw_fd(),
                Value::Dns(started) => result.dns = handle::create(Dns::new(*started, member.clone())?)?,
                Value::Nothing => {}
                Value::Stream(stream) => {
                    result.stream = handle::create(Stream::new(*stream, member.clone()))?;
                }
                Value::Text(text) => result.text = text::create(&text)?,
            }
            Ok(())
        });
        if let Err(failure) = created {
            result.status = failure.status;
            if let OperationKind::Resolution = self.kind {
                result.eai = failure.eai();
            }
            result.error = error_object(failure);
        }
        result
    }
}
