//! The reason why a call failed, including a panic.

use std::{
    any::Any,
    error::Error as _,
    future::poll_fn,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use libc::c_int;

use crate::status::{self, SIDESTEP_E_PANIC, SIDESTEP_E_SYSTEM, sidestep_status};

/// The reason why a call failed, before it becomes a status code and an error object.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: sidestep_status,
    pub(crate) message: String,
    pub(crate) next_step: String,
    pub(crate) is_transient: bool,
    /// The `getaddrinfo` code. `None` selects the code that `status::eai` returns for `status`.
    pub(crate) eai: Option<c_int>,
}

impl Failure {
    pub(crate) fn new(status: sidestep_status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            next_step: status::next_step(status).to_owned(),
            is_transient: status::is_transient(status),
            eai: None,
        }
    }

    pub(crate) fn of_system(what: &str, error: &io::Error) -> Self {
        Self::new(SIDESTEP_E_SYSTEM, format!("{what}: {error}"))
    }

    /// Returns this failure with the next step that belongs to the code `status`.
    pub(crate) fn with_next_step_of(self, status: sidestep_status) -> Self {
        Self { next_step: status::next_step(status).to_owned(), ..self }
    }

    pub(crate) fn with_eai(self, eai: c_int) -> Self {
        Self { eai: Some(eai), ..self }
    }

    pub(crate) fn eai(&self) -> c_int {
        self.eai.unwrap_or_else(|| status::eai(self.status))
    }
}

/// The `errno` values that mean that the process, or the whole system, has no descriptor left.
const OUT_OF_DESCRIPTORS: [Option<c_int>; 2] = [Some(libc::EMFILE), Some(libc::ENFILE)];

impl From<mesh_connector::Error> for Failure {
    fn from(error: mesh_connector::Error) -> Self {
        if OUT_OF_DESCRIPTORS.contains(&error.raw_os_error()) {
            return Self::new(SIDESTEP_E_SYSTEM, error.report());
        }
        let mut failure = Self::new(status::of(error.kind()), error.report());
        failure.is_transient = error.kind().is_transient();
        if !error.possible_causes().is_empty() {
            failure.next_step = format!("possible causes: {}", error.possible_causes().join("; "));
        }
        failure
    }
}

impl From<mesh_resolver::Error> for Failure {
    fn from(error: mesh_resolver::Error) -> Self {
        let system = error.source().and_then(|source| source.downcast_ref::<io::Error>()?.raw_os_error());
        if OUT_OF_DESCRIPTORS.contains(&system) {
            return Self::new(SIDESTEP_E_SYSTEM, error.report());
        }
        let is_transient = error.kind().is_transient();
        Self { is_transient, ..Self::new(status::of_lookup(error.kind()), error.report()) }
    }
}

/// Runs `work` and turns a panic into a failure.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // This is unwind safe, because all shared values are behind locks that a panic does not poison.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

/// Runs a future and turns a panic into a failure.
pub(crate) async fn guarded_async<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut work = pin!(work);
    // A future that has panicked is not polled again.
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        polled.unwrap_or_else(|panic| Poll::Ready(Err(panicked(&*panic))))
    })
    .await
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Failure::new(SIDESTEP_E_PANIC, format!("libsidestep panicked: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_and_its_message() {
        let failure = guarded::<()>(|| panic!("as {}", "intended")).unwrap_err();
        assert_eq!(failure.status, SIDESTEP_E_PANIC);
        assert!(failure.message.ends_with("as intended"), "{}", failure.message);
    }

    #[tokio::test]
    async fn a_panic_of_a_future_becomes_a_status_also_after_it_has_waited() {
        let (end, waits) = tokio::sync::oneshot::channel::<()>();
        let work = async {
            waits.await.unwrap();
            panic!("later");
        };
        let (outcome, ended) = tokio::join!(guarded_async::<()>(work), async { end.send(()) });
        ended.unwrap();
        let failure = outcome.unwrap_err();
        assert_eq!(failure.status, SIDESTEP_E_PANIC);
        assert!(failure.message.ends_with("later"), "{}", failure.message);
        assert_eq!(guarded_async(async { Ok(7) }).await.unwrap(), 7);
    }
}
