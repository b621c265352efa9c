//! One peer: a process that speaks JSON lines and ends when its input is closed.

use std::{ffi::OsStr, process::Stdio, time::Duration};

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

const PATIENCE: Duration = Duration::from_secs(60);

impl Child {
    /// Starts a peer and waits until it is ready.
    pub async fn start<I: IntoIterator<Item: AsRef<OsStr>>>(
        arguments: I,
        environment: &[(&str, &str)],
    ) -> Self {
        let peers = super::find().expect("the peers are built");
        let mut process = Command::new(peers)
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
    pub async fn command(&mut self, mut command: Value) -> Value {
        self.next_id += 1;
        command["id"] = self.next_id.into();
        let input = self.input.as_mut().expect("a peer that runs");
        input.write_all(format!("{command}\n").as_bytes()).await.expect("a peer that listens");
        loop {
            let line = self.line().await;
            if line["id"] == self.next_id {
                assert_eq!(line["ok"], true, "{command}: {line}");
                return line;
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
