//! Starting operations.

use std::ffi::{c_char, c_void};

use libc::addrinfo;

use super::{Queue, sidestep_queue};
use crate::{
    arguments::{Out, timeout},
    border::call,
    completion::{Completion, Value},
    connect::{SIDESTEP_TCP_PAIR, connecting, pair, target},
    error::sidestep_error,
    explain::explaining,
    failure::Failure,
    getaddrinfo::{Request, ask},
    handle,
    mesh::{Member, leaving, ready},
    status::{SIDESTEP_CANCELLED, sidestep_status},
};

impl Queue {
    /// Starts an operation, and tells its number where there is a place for it.
    fn start(
        &self,
        place: Option<Out<'_, u64>>,
        user_data: *mut c_void,
        work: impl Future<Output = Result<Value, Failure>> + Send + 'static,
    ) {
        let (operation, cancelled) = self.operations.begin();
        let user_data = user_data.expose_provenance();
        let (done, operations) = (self.done.clone(), self.operations.clone());
        self.member.runtime.handle().spawn(async move {
            let outcome = tokio::select! {
                biased;
                _ = cancelled => Err(Failure::new(SIDESTEP_CANCELLED, "the operation was cancelled")),
                outcome = work => outcome,
            };
            operations.cancel(operation);
            done.add(Completion { user_data, operation, outcome });
        });
        if let Some(place) = place {
            place.set(operation);
        }
    }
}

/// Starts what `prepare` makes of the queue's mesh: what is wrong with arguments is told at once, and all else by a completion.
///
/// # Safety
///
/// `operation` and `err` as the header says of outputs and errors.
pub(crate) unsafe fn starting<W>(
    queue: *mut sidestep_queue,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
    prepare: impl FnOnce(&Member) -> Result<W, Failure>,
) -> sidestep_status
where
    W: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    // SAFETY: the caller's promise.
    let (operation, err) = unsafe { (Out::optional(operation, 0), Out::error(err)) };
    call(err, || {
        let queue = handle::get::<Queue>(queue)?;
        queue.start(operation, user_data, prepare(&queue.member)?);
        Ok(())
    })
}

/// `sidestep_wait_ready` through a queue. `*operation`, which may be NULL, is for `sidestep_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_start_wait_ready(
    queue: *mut sidestep_queue,
    timeout_ms: i64,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    unsafe {
        starting(queue, user_data, operation, err, |member| {
            let mesh = member.mesh.clone();
            Ok(async move { ready(&mesh, timeout(timeout_ms)).await.map(|()| Value::Nothing) })
        })
    }
}

/// `sidestep_connect` through a queue: the completion has the descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_start_connect(
    queue: *mut sidestep_queue,
    host: *const c_char,
    port: u16,
    how: u32,
    timeout_ms: i64,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let connect = |member: &Member| {
        // SAFETY: as the header says of texts.
        let target = unsafe { target(host, port, how, SIDESTEP_TCP_PAIR) }?;
        let connecting = connecting(member, target, pair(how), timeout(timeout_ms));
        Ok(async move { connecting.await.map(Value::Descriptor) })
    };
    // SAFETY: as the header says of outputs and errors.
    unsafe { starting(queue, user_data, operation, err, connect) }
}

/// `sidestep_getaddrinfo` through a queue: the completion has the list. What is wrong with the arguments is told at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_start_getaddrinfo(
    queue: *mut sidestep_queue,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let look_up = |member: &Member| {
        // SAFETY: as the header says of texts and hints.
        let request = unsafe { Request::new(node, service, hints) }?.into_owned();
        let resolver = member.mesh.raw_resolver().clone();
        Ok(async move {
            let found = match request.system() {
                Some(answer) => answer?,
                None => ask(&resolver, &request).await?,
            };
            Ok(Value::Addresses { found, flags: request.flags })
        })
    };
    // SAFETY: as the header says of outputs and errors.
    unsafe { starting(queue, user_data, operation, err, look_up) }
}

/// `sidestep_explain` through a queue: the completion has the text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_start_explain(
    queue: *mut sidestep_queue,
    host: *const c_char,
    port: u16,
    how: u32,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    let explain = |member: &Member| {
        // SAFETY: as the header says of texts.
        let explaining = unsafe { explaining(member, host, port, how) }?;
        Ok(async move { Ok(Value::Text(explaining.await)) })
    };
    // SAFETY: as the header says of outputs and errors.
    unsafe { starting(queue, user_data, operation, err, explain) }
}

/// `sidestep_shutdown` through a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_start_shutdown(
    queue: *mut sidestep_queue,
    timeout_ms: i64,
    user_data: *mut c_void,
    operation: *mut u64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    unsafe {
        starting(queue, user_data, operation, err, |member| {
            let leaving = leaving(member, timeout(timeout_ms));
            Ok(async move { leaving.await.map(|()| Value::Nothing) })
        })
    }
}
