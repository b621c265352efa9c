//! One peer: a process that speaks JSON lines and ends when its input is closed.

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

/// A running peer. Dropping it ends it.
#[derive(Debug)]
pub struct Child {
    /// What it said when it was ready.
    pub ready: Value,
    process: tokio::process::Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    next_id: u64,
}

/// Whether a peer can have a resolv.conf of its own on this machine, with a server on port 53 of a loopback address.
///
/// # Errors
///
/// Why not.
pub fn may_mount() -> Result<(), String> {
    UdpSocket::bind((Ipv4Addr::new(127, 251, 9, 53), 53))
        .map_err(|error| format!("port 53 of a loopback address cannot be bound: {error}"))?;
    match std::process::Command::new("unshare").args(["-m", "true"]).output() {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("`unshare -m` does not work here".to_owned()),
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

    /// The same, in a mount namespace of its own that has this file as /etc/resolv.conf: a resolver that reads it finds
    /// servers on port 53 alone. See [`may_mount`].
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

    /// Sends a command and waits for its reply, which must be good.
    pub async fn command(&mut self, command: Value) -> Value {
        let what = command.to_string();
        let reply = self.attempt(command).await;
        reply.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// What the peer says where it did not do it.
    pub async fn attempt(&mut self, mut command: Value) -> Result<Value, String> {
        self.next_id += 1;
        command["id"] = self.next_id.into();
        let input = self.input.as_mut().expect("a peer that runs");
        input.write_all(format!("{command}\n").as_bytes()).await.expect("a peer that listens");
        loop {
            let line = self.line().await;
            if line["id"] == self.next_id {
                let error = line["error"].as_str().unwrap_or_default().to_owned();
                return if line["ok"] == true { Ok(line) } else { Err(error) };
            }
        }
    }

    /// A text of the ready line.
    pub fn ready_text(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap_or_else(|| panic!("{key} in {}", self.ready)).to_owned()
    }

    /// Its process. What it has started are the children of that.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Ends the peer and waits until it is gone.
    pub async fn end(mut self) {
        self.input = None;
        timeout(PATIENCE, self.process.wait())
            .await
            .expect("a peer ends when its input does")
            .expect("it is a child");
    }

    async fn line(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("a peer that answers in time");
        let line = line
            .expect("a peer whose output can be read")
            .expect("a peer that is still there; see its log above");
        serde_json::from_str(&line).expect("a peer that speaks JSON")
    }
}
