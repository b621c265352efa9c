//! Programs of another user: scripts in Python.

use std::process::Stdio;

use rustix::process::geteuid;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// The user of the attacker (`nobody`).
pub(crate) const ATTACKER: u32 = 65534;

/// Where other users find the programs. The PATH of root may contain folders that they cannot read.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Returns the requirement of these tests that this machine lacks, if any.
pub(crate) fn missing() -> Option<String> {
    if !geteuid().is_root() {
        return Some("only root can start programs of another user".to_owned());
    }
    let works = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    let user = ATTACKER.to_string();
    let python = [
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "env",
        &format!("PATH={PATH}"),
        "python3",
        "-c",
        "",
    ];
    if !works("unshare", &["-n", "ip", "link"]) {
        Some("no network namespace (`unshare -n ip link`)".to_owned())
    } else if !works("setpriv", &python) {
        Some("no Python for another user (`setpriv --reuid 65534 python3`)".to_owned())
    } else {
        None
    }
}

/// A running program of another user. Dropping it ends the program.
pub(crate) struct Program {
    _child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(script: &str) -> Self {
        let user = ATTACKER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "python3", "-uc", script]);
        command
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { _child: child, output }
    }

    /// Returns the next line of the output. Empty at its end.
    pub(crate) async fn line(&mut self) -> String {
        self.output.next_line().await.unwrap().unwrap_or_default()
    }
}
