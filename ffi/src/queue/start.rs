//! The functions that start operations of a queue.

use std::ffi::{c_char, c_void};

use libc::addrinfo;

use super::{Queue, sidestep_queue};
use crate::{
    arguments::{Out, timeout},
    boundary::call,
    completion::{Completion, OperationKind, Value},
    connect::{SIDESTEP_FLAG_TCP_PAIR, connecting, pair, target},
    error::sidestep_error,
    explain::explaining,
    failure::{Failure, guarded_async},
    getaddrinfo::{Request, resolve},
    handle,
    mesh::{Member, leaving, ready},
    status::{SIDESTEP_E_CANCELLED, sidestep_status},
    stream,
};

impl Queue {
    /// Starts an operation, and stores its number in `output`.
    fn start(
        &self,
        output: Option<Out<'_, u64>>,
        user_data: *mut c_void,
        kind: OperationKind,
        work: impl Future<Output = Result<Value, Failure>> + Send + 'static,
    ) {
        let (operation, cancelled) = self.operations.begin();
        let user_data = user_data.expose_provenance();
        let (done, operations) = (self.done.clone(), self.operations.clone());
        self.member.runtime.handle().spawn(async move {
            let outcome = tokio::select! {
                biased;
                _ = cancelled => Err(Failure::new(SIDESTEP_E_CANCELLED, "the operation was cancelled")),
                // A panic must not lose the completion.
                outcome = guarded_async(work) => outcome,
            };
            operations.cancel(operation);
            done.add(Completion { user_data, operation, kind, outcome });
        });
        if let Some(output) = output {
            output.set(operation);
        }
    }
}

/// Starts the operation that `prepare` creates for the queue's mesh. A failure of `prepare` is a failure of the call; a
/// failure of the operation is reported by its completion.
///
/// # Safety
///
/// `operation` and `err` are NULL, or valid for writes during the call.
pub(crate) unsafe fn start_operation<W>(
    queue: *mut sidestep_queue,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
    kind: OperationKind,
    prepare: impl FnOnce(&Member) -> Result<W, Failure>,
) -> sidestep_status
where
    W: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    // SAFETY: the caller upholds the requirements of `Out`.
    let (operation, err) = unsafe { (Out::optional(operation, 0), Out::error(err)) };
    call(err, || {
        let queue = handle::get::<Queue>(queue)?;
        queue.start(operation, user_data, kind, prepare(&queue.member)?);
        Ok(())
    })
}

/// The non-blocking form of `sidestep_wait_ready`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_wait_ready(
    queue: *mut sidestep_queue,
    timeout_ms: i64,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    unsafe {
        start_operation(queue, user_data, operation, err, OperationKind::Other, |member| {
            let mesh = member.mesh.clone();
            Ok(async move { ready(&mesh, timeout(timeout_ms)).await.map(|()| Value::Nothing) })
        })
    }
}

/// The non-blocking form of `sidestep_connect`. The completion contains the descriptor.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_connect(
    queue: *mut sidestep_queue,
    host: *const c_char,
    port: u16,
    flags: u32,
    timeout_ms: i64,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let connect = |member: &Member| {
        // SAFETY: the header requires valid texts.
        let target = unsafe { target(host, port, flags, SIDESTEP_FLAG_TCP_PAIR) }?;
        let connecting = connecting(member, target, pair(flags), timeout(timeout_ms));
        Ok(async move { connecting.await.map(Value::Descriptor) })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, connect) }
}

/// The non-blocking form of `sidestep_stream_connect`. The completion contains the stream. `sidestep_stream_read` and
/// `sidestep_stream_write` block; pass 0 as their `timeout_ms` to transfer only what is possible without waiting.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_stream_connect(
    queue: *mut sidestep_queue,
    host: *const c_char,
    port: u16,
    flags: u32,
    timeout_ms: i64,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let connect = |member: &Member| {
        // SAFETY: the header requires valid texts.
        let target = unsafe { target(host, port, flags, 0) }?;
        let connecting = stream::connecting(member, target, timeout(timeout_ms));
        Ok(async move { Ok(Value::Stream(Box::new(connecting.await?))) })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, connect) }
}

/// The non-blocking form of `sidestep_getaddrinfo`. The completion contains the list.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_getaddrinfo(
    queue: *mut sidestep_queue,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let look_up = |member: &Member| {
        // SAFETY: the header requires valid texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?.into_owned();
        let resolver = member.mesh.raw_resolver().clone();
        Ok(async move {
            let found = match request.system() {
                Some(answer) => answer?,
                None => resolve(&resolver, &request).await?,
            };
            Ok(Value::Addresses { found, flags: request.flags })
        })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Resolution, look_up) }
}

/// The non-blocking form of `sidestep_explain`. The completion contains the text.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_explain(
    queue: *mut sidestep_queue,
    host: *const c_char,
    port: u16,
    flags: u32,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let explain = |member: &Member| {
        // SAFETY: the header requires valid texts.
        let explaining = unsafe { explaining(member, host, port, flags) }?;
        Ok(async move { Ok(Value::Text(explaining.await)) })
    };
    // SAFETY: the header requires valid outputs.
    unsafe { start_operation(queue, user_data, operation, err, OperationKind::Other, explain) }
}

/// The non-blocking form of `sidestep_shutdown`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_queue_shutdown(
    queue: *mut sidestep_queue,
    timeout_ms: i64,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    unsafe {
        start_operation(queue, user_data, operation, err, OperationKind::Other, |member| {
            let leaving = leaving(member, timeout(timeout_ms));
            Ok(async move { leaving.await.map(|()| Value::Nothing) })
        })
    }
}
