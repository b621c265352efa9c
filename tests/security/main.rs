//! Attacks by another user of this host on the loopback services of a bridge. Each attacker is a process with its own
//! user ID.
//!
//! The tests need root, and run in a network namespace of their own, so that every port is free and nothing leaves this
//! machine. Without root, `setpriv`, `unshare`, `ip` or Python they are ignored, or fail if `SIDESTEP_PEERS=required`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a failed setup fails the test")]

mod dns;
mod squat;
mod user;
mod victim;

use std::{env, os::unix::process::CommandExt as _, pin::Pin, process::ExitCode, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use mesh_tests::peers;

/// The timeout of a test.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "SIDESTEP_SECURITY_NAMESPACE";

type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Creates tests from the functions of a module.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), || Box::pin($module::$name()))),*]
    };
}

const ALL: &[Test] = &tests![
    squat::a_service_has_no_loopback_address_while_another_user_listens_on_one_of_its_ports,
    squat::another_user_cannot_listen_on_a_port_of_a_service_that_has_a_loopback_address,
    dns::queries_of_another_user_open_no_listener_and_are_refused,
    dns::a_user_with_permission_receives_an_address_and_still_cannot_use_the_service,
];

fn main() -> ExitCode {
    let missing = user::missing();
    if let Some(reason) = &missing {
        eprintln!("security tests: {reason}");
    } else if env::var_os(INSIDE).is_none() {
        let error = inside_namespace();
        eprintln!("security tests: `unshare` cannot be started: {error}");
        return ExitCode::FAILURE;
    }
    let ignored = missing.is_some() && !peers::required();
    let trials = ALL.iter().map(|(name, test)| {
        let missing = missing.clone();
        Trial::test(*name, move || run(missing, *test)).with_ignored_flag(ignored)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Replaces this process by one in a new network namespace. Returns only if that fails.
fn inside_namespace() -> std::io::Error {
    let script = "ip link set lo up && exec \"$@\"";
    let mut command = std::process::Command::new("unshare");
    command.args(["-n", "sh", "-ec", script, "sh"]).args(env::args_os()).env(INSIDE, "1").exec()
}

fn run(missing: Option<String>, test: fn() -> Pin<Box<dyn Future<Output = ()>>>) -> Result<(), Failed> {
    if let Some(reason) = missing {
        return Err(reason.into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok(runtime.block_on(async { tokio::time::timeout(TIME_LIMIT, test()).await })?)
}
