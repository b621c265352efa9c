//! The programs and libraries that tests require on the machine.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use mesh_tests::{machine, peers};

/// The requirements, and whether the machine meets them.
#[derive(Default)]
pub(crate) struct Requirements(BTreeMap<&'static str, bool>);

impl Requirements {
    /// Creates a test that requires programs, and libraries with headers (`lib NAME`, where NAME is a pkg-config package).
    pub(crate) fn trial(
        &mut self,
        name: String,
        required: &'static [&'static str],
        test: impl FnOnce() + Send + 'static,
    ) -> Trial {
        let missing: Vec<_> = required.iter().copied().filter(|one| !self.is_met(one)).collect();
        let ignored = !missing.is_empty() && !peers::required();
        let trial = Trial::test(name, move || {
            if !missing.is_empty() {
                return Err(format!("not on this machine: {}", missing.join(", ")).into());
            }
            test();
            Ok(())
        });
        trial.with_ignored_flag(ignored)
    }

    fn is_met(&mut self, required: &'static str) -> bool {
        *self.0.entry(required).or_insert_with(|| match required.strip_prefix("lib ") {
            Some(library) => machine::has_package(library),
            None => machine::has_program(required),
        })
    }

    /// Prints the requirements that are not met.
    pub(crate) fn report(&self) {
        for (required, _) in self.0.iter().filter(|(_, is_met)| !**is_met) {
            eprintln!("tests of the C library: `{required}` is not on this machine");
        }
    }
}
