//! A peer process, which reads and writes JSON lines and ends when its input is closed.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// A running peer. Dropping it ends the process.
#[derive(Debug)]
pub struct Child {
    /// The message with which the peer reported that it is ready.
    pub ready: Value,
    process: tokio::process::Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    next_id: u64,
}

/// Returns whether a peer can have its own resolv.conf on this machine, with a DNS server on port 53 of a loopback
/// address.
///
/// # Errors
///
/// Names the missing capability.
pub fn may_mount() -> Result<(), String> {
    UdpSocket::bind((Ipv4Addr::new(127, 251, 9, 53), 53))
        .map_err(|error| format!("cannot bind port 53 of a loopback address: {error}"))?;
    match std::process::Command::new("unshare").args(["-m", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("`unshare -m` does not work on this machine".to_owned()),
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Child {
    /// Starts a peer and waits until it is ready.
    pub async fn start<I: IntoIterator<Item: AsRef<OsStr>>>(
        arguments: I,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::spawn(Command::new(super::find().expect("the peers are built")), arguments, environment).await
    }

    /// Starts a peer in a mount namespace with this file as /etc/resolv.conf, whose DNS servers are always contacted on
    /// port 53. See [`may_mount`].
    pub async fn start_with_resolv_conf<I: IntoIterator<Item: AsRef<OsStr>>>(
        resolv_conf: &Path,
        arguments: I,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"", "sh"])
            .arg(resolv_conf)
            .arg(super::find().expect("the peers are built"));
        Self::spawn(command, arguments, environment).await
    }

    async fn spawn<I: IntoIterator<Item: AsRef<OsStr>>>(
        mut command: Command,
        arguments: I,
        environment: &[(&str, &str)],
    ) -> Self {
        let mut process = command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a peer starts");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut child = Self { ready: Value::Null, process, input, output, next_id: 0 };
        child.ready = child.line().await;
        assert_eq!(child.ready["event"], "ready", "{}", child.ready);
        child
    }

    /// Sends a command and waits for its reply. Panics if the command fails.
    pub async fn command(&mut self, command: Value) -> Value {
        let what = command.to_string();
        let reply = self.attempt(command).await;
        reply.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// Returns the error that the peer reports.
    pub async fn attempt(&mut self, mut command: Value) -> Result<Value, String> {
        self.next_id += 1;
        command["id"] = self.next_id.into();
        let input = self.input.as_mut().expect("the peer runs");
        input.write_all(format!("{command}\n").as_bytes()).await.expect("the peer reads its input");
        loop {
            let line = self.line().await;
            if line["id"] == self.next_id {
                let error = line["error"].as_str().unwrap_or_default().to_owned();
                return if line["ok"] == true { Ok(line) } else { Err(error) };
            }
        }
    }

    /// Returns a text field of the ready message.
    pub fn ready_text(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} in {}", self.ready)).to_owned()
    }

    /// Returns the process id. Processes that the peer has started are its children.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Ends the peer and waits until its process has ended.
    pub async fn end(mut self) {
        self.input = None;
        timeout(PATIENCE, self.process.wait())
            .await
            .expect("the peer ends after its input")
            .expect("the process is a child");
    }

    async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("the peer responds in time");
        let line = line
            .expect("the output of the peer is readable")
            .expect("the peer still runs; see its log above");
        serde_json::from_str(&line).expect("the peer writes JSON")
    }
}
