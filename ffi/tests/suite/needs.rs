//! What tests need of the machine.

use std::collections::BTreeMap;

use libtest_mimic::Trial;
use mesh_tests::{machine, peers};

/// What has been looked for, and whether it is there.
#[derive(Default)]
pub(crate) struct Needs(BTreeMap<&'static str, bool>);

impl Needs {
    /// A test that needs programs, and libraries with their headers (`lib NAME`, as pkg-config knows them).
    pub(crate) fn trial(
        &mut self,
        name: String,
        needed: &'static [&'static str],
        test: impl FnOnce() + Send + 'static,
    ) -> Trial {
        let missing: Vec<_> = needed.iter().copied().filter(|need| !self.is_there(need)).collect();
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

    fn is_there(&mut self, need: &'static str) -> bool {
        *self.0.entry(need).or_insert_with(|| match need.strip_prefix("lib ") {
            Some(library) => machine::has_package(library),
            None => machine::has_program(need),
        })
    }

    /// Tells what is missing.
    pub(crate) fn say(&self) {
        for (need, _) in self.0.iter().filter(|(_, is_there)| !**is_there) {
            eprintln!("tests of the C library: `{need}` is not on this machine");
        }
    }
}
