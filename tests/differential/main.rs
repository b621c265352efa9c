//! Compares the sandbox with a real istiod: both get the same YAML, the same nodes subscribe to both, and their
//! resources must be equal. `tests/peers/build.sh` builds istiod. Without it, these tests are ignored, or fail if
//! `SIDESTEP_PEERS=required`.
//!
//! A case is a folder below `cases/` with one folder of YAML per cluster. It also gets the files of `base/`, unless it
//! has a file with the same name. A file `refused` means that the sandbox must reject the YAML with an error that
//! contains the words in the file, and that the real istiod must accept it. In addition to the cases, meshes are
//! generated.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed setup fails the test"
)]

mod both;
mod case;
mod comparison;
mod facts;
mod generated;
mod nodes;
mod relay;
mod side;
mod view;
mod wire;

use std::{process::ExitCode, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_tests::peers;

/// The timeout of a test.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let missing = peers::find().err();
    if let Some(reason) = &missing {
        eprintln!("differential tests: no peers: {reason}");
    }
    let ignored = missing.is_some() && !peers::required();
    let no_dns = peers::may_mount().err();
    if let Some(reason) = &no_dns {
        eprintln!("differential tests: no DNS server for istiod: {reason}");
    }
    let cases = case::all().into_iter().map(|case| {
        let name = format!("case::{}", case.name);
        let ignored = ignored || case.needs_dns() && no_dns.is_some();
        Trial::test(name, move || run(case.check())).with_ignored_flag(ignored)
    });
    let scripts = wire::all().into_iter().map(|script| {
        Trial::test(format!("wire::{}", script.name), move || run(script.check())).with_ignored_flag(ignored)
    });
    let meshes = generated::all().into_iter().map(|mesh| {
        Trial::test(format!("generated::{}", mesh.0), move || run(mesh.check())).with_ignored_flag(ignored)
    });
    let mut arguments = Arguments::from_args();
    // Each test starts its own mesh, and mostly waits for its processes.
    arguments.test_threads = arguments.test_threads.or(Some(4));
    libtest_mimic::run(&arguments, cases.chain(scripts).chain(meshes).collect()).exit_code()
}

fn run(test: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    peers::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await })?
}
