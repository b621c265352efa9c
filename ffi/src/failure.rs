//! Why a call failed, which a panic is too.

use std::{
    any::Any,
    error::Error as _,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
};

use libc::c_int;

use crate::status::{self, SIDESTEP_PANIC, SIDESTEP_SYSTEM, sidestep_status};

/// Why a call failed, on its way to C.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: sidestep_status,
    pub(crate) message: String,
    pub(crate) next: String,
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
        if !error.possible_causes().is_empty() {
            failure.next = format!("possible causes: {}", error.possible_causes().join("; "));
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
