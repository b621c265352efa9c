//! What every call from C passes on its way in and out.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    arguments::Out,
    error::{ErrorObject, Failure, sidestep_error},
    handle,
    status::{SIDESTEP_OK, SIDESTEP_PANIC, sidestep_status},
};

/// Runs a call's work. A failure becomes the error object, if one is asked for.
pub(crate) fn call(
    err: Option<Out<'_, *mut sidestep_error>>,
    work: impl FnOnce() -> Result<(), Failure>,
) -> sidestep_status {
    outcome(err, guarded(work)).map_or_else(|failure| failure.status, |()| SIDESTEP_OK)
}

/// The same for a call that answers otherwise than by a status.
pub(crate) fn outcome<T>(
    err: Option<Out<'_, *mut sidestep_error>>,
    outcome: Result<T, Failure>,
) -> Result<T, Failed> {
    outcome.map_err(|failure| {
        let failed = Failed { status: failure.status, eai: failure.eai() };
        if let Some(err) = err {
            err.set(handle::give(ErrorObject::from(failure)));
        }
        failed
    })
}

/// What is left of a failure when its error object has been given away.
pub(crate) struct Failed {
    pub(crate) status: sidestep_status,
    pub(crate) eai: libc::c_int,
}

/// No panic leaves this.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What a panic leaves behind is behind locks that are read whatever befell their holders.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    Failure::new(SIDESTEP_PANIC, format!("libsidestep panicked: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_status_with_what_it_said() {
        let failure = guarded::<()>(|| panic!("as {}", "intended")).unwrap_err();
        assert_eq!(failure.status, SIDESTEP_PANIC);
        assert!(failure.message.ends_with("as intended"), "{}", failure.message);
    }
}
