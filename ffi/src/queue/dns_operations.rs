//! The function that starts a DNS server without blocking.

use std::ffi::{c_char, c_void};

use super::{sidestep_queue, start::start_operation};
use crate::{
    bridge::sidestep_bridge,
    completion::{OperationKind, Value},
    dns::starting,
    error::sidestep_error,
    mesh::Member,
    status::sidestep_status,
};

/// The non-blocking form of `sidestep_dns_start` for the mesh of the queue. The completion contains the server.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_dns_start(
    queue: *mut sidestep_queue,
    address: *const c_char,
    bridge: *const sidestep_bridge,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let start = |member: &Member| {
        // SAFETY: the header requires valid texts.
        let start = unsafe { starting(member, address, bridge) }?;
        Ok(async move { Ok(Value::Dns(Box::new(start.await?))) })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, start) }
}
