//! Sidestep against a real istiod, a real east-west gateway (Istio's agent and Envoy) and workloads with certificates
//! of the real CA. `tests/peers/build.sh` builds them; where they are missing, these tests are ignored, unless
//! `SIDESTEP_PEERS=required` makes that a failure.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod control_plane;

use std::{pin::Pin, process::ExitCode, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_tests::peers;

/// No test takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Names the functions of a module as tests.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), || Box::pin($module::$name()))),*]
    };
}

fn main() -> ExitCode {
    let all: &[Test] =
        &tests![control_plane::a_vm_joins_with_its_token_and_resolves_the_names_of_both_clusters,];
    let missing = peers::find().err();
    if let Some(reason) = &missing {
        eprintln!("interop tests: no peers: {reason}");
    }
    let ignored = missing.is_some() && !peers::required();
    let trials = all
        .iter()
        .map(|(name, test)| Trial::test(*name, move || run(*test)).with_ignored_flag(ignored));
    let mut arguments = Arguments::from_args();
    // Each test starts a mesh of its own: one per core at a time.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn run(test: fn() -> Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Failed> {
    peers::find()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(async { tokio::time::timeout(PATIENCE, test()).await })?)
}
