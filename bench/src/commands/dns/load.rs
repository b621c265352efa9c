//! DNS clients that generate load.

use std::{
    collections::{HashMap, HashSet},
    fs, hint,
    net::UdpSocket,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{names::Names, servers::Server, socket};
use crate::Failure;

/// Clients of DNS servers.
pub(super) struct Load {
    /// The query file of dnsperf, if dnsperf is installed.
    dnsperf: Option<PathBuf>,
    messages: Vec<Vec<u8>>,
}

/// The number of concurrent queries.
const WINDOW: u16 = 200;

impl Load {
    /// Uses dnsperf to saturate servers.
    pub(super) fn new(names: &Names) -> Result<Self, String> {
        let there = Command::new("dnsperf").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
        there.map_err(|error| {
            format!("{error} (Debian package dnsperf): using the built-in load generator instead")
        })?;
        let questions = names.questions().map_err(|error| error.to_string())?;
        Ok(Self { dnsperf: Some(questions), messages: names.messages() })
    }

    /// Uses this program to saturate servers.
    pub(super) fn own(names: &Names) -> Self {
        Self { dnsperf: None, messages: names.messages() }
    }

    /// Returns the CPU time of the server per answered query, in nanoseconds, while the server is saturated.
    pub(super) fn cpu_per_query(&self, server: &Server, run: Duration) -> Result<f64, Failure> {
        let before = cpu(server.pid)?;
        let answered = self.saturate(server, run)?;
        Ok((cpu(server.pid)? - before) / answered)
    }

    /// Returns the maximum number of answered queries per second.
    pub(super) fn queries_per_second(&self, server: &Server, run: Duration) -> Result<f64, Failure> {
        let start = Instant::now();
        let answered = self.saturate(server, run)?;
        Ok(answered / start.elapsed().as_secs_f64())
    }

    /// Saturates the server and returns the number of answers.
    fn saturate(&self, server: &Server, run: Duration) -> Result<f64, Failure> {
        match &self.dnsperf {
            Some(questions) => dnsperf(questions, server, run),
            None => self.flood(server, run),
        }
    }

    /// Keeps a window of queries in flight.
    fn flood(&self, server: &Server, run: Duration) -> Result<f64, Failure> {
        let socket = connected(server)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut next = self.messages.iter().cycle();
        let mut ask = |id: u16| -> Result<(), Failure> {
            let mut message = next.next().cloned().unwrap_or_default();
            message[..2].copy_from_slice(&id.to_be_bytes());
            Ok(socket.send(&message).map(drop)?)
        };
        (0..WINDOW).try_for_each(&mut ask)?;
        let (start, mut answered, mut packet) = (Instant::now(), 0.0, [0; 4096]);
        while start.elapsed() < run {
            // Lost queries are sent again.
            match socket.recv(&mut packet) {
                Ok(_) => answered += 1.0,
                Err(_) => (0..WINDOW).try_for_each(&mut ask)?,
            }
            ask(u16::from_be_bytes([packet[0], packet[1]]))?;
        }
        Ok(answered)
    }

    /// Returns the 99th percentile of the latency in nanoseconds, with queries at a steady rate that does not depend on
    /// the server.
    pub(super) fn p99(&self, server: &Server, rate: f64, run: Duration) -> Result<f64, Failure> {
        let socket = connected(server)?;
        socket.set_nonblocking(true)?;
        let pace = Duration::from_secs_f64(1.0 / rate);
        let (start, mut due, mut packet) = (Instant::now(), Instant::now(), [0; 4096]);
        let (mut asked, mut latencies, mut id) = (HashMap::new(), Vec::new(), 0u16);
        let mut questions = self.messages.clone();
        let count = questions.len();
        while start.elapsed() < run {
            let now = Instant::now();
            if now >= due {
                id = id.wrapping_add(1);
                let message = &mut questions[usize::from(id) % count];
                message[..2].copy_from_slice(&id.to_be_bytes());
                if socket.send(message).is_ok() {
                    // The latency counts from the time at which the query was due.
                    asked.insert(id, due);
                }
                due += pace;
            }
            match socket.recv(&mut packet) {
                Ok(_) => {
                    let asked = asked.remove(&u16::from_be_bytes([packet[0], packet[1]]));
                    latencies.extend(asked.map(|asked| asked.elapsed().as_secs_f64() * 1e9));
                }
                // polling: a wait in the kernel would add its wake-up to each latency.
                Err(_) => hint::spin_loop(),
            }
        }
        latencies.sort_by(f64::total_cmp);
        let at = latencies.len() * 99 / 100;
        latencies.get(at).copied().ok_or_else(|| "no answers".into())
    }
}

fn connected(server: &Server) -> Result<UdpSocket, Failure> {
    let socket = socket()?;
    socket.connect(server.address)?;
    Ok(socket)
}

fn dnsperf(questions: &PathBuf, server: &Server, run: Duration) -> Result<f64, Failure> {
    let (ip, port) = (server.address.ip().to_string(), server.address.port().to_string());
    let seconds = format!("{:.0}", run.as_secs_f64().ceil());
    let output = Command::new("dnsperf")
        // dnsperf waits for lost answers at the end: one second instead of five.
        .args(["-s", &ip, "-p", &port, "-l", &seconds, "-t", "1", "-c", "4", "-q", &WINDOW.to_string(), "-d"])
        .arg(questions)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let completed = text.lines().find_map(|line| line.trim().strip_prefix("Queries completed:"));
    let completed = completed.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    completed
        .filter(|completed| *completed > 0.0)
        .ok_or_else(|| format!("dnsperf: {text}{}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Returns the CPU time of a process and its descendants in nanoseconds (proc(5), `schedstat`).
fn cpu(pid: u32) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for process in family(pid)? {
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let time = text.split_whitespace().next().and_then(|time| time.parse::<f64>().ok());
            sum += time.unwrap_or(0.0);
        }
    }
    Ok(sum)
}

/// Returns a process and its descendants.
fn family(pid: u32) -> Result<HashSet<u32>, Failure> {
    let mut parents = HashMap::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(child) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // The name in parentheses may contain anything; state and parent follow it.
        let text = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let parent = text.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.extend(parent.map(|parent: u32| (child, parent)));
    }
    let is_of = |mut process: u32| {
        while process != pid && process > 1 {
            process = parents.get(&process).copied().unwrap_or(0);
        }
        process == pid
    };
    Ok(parents.keys().copied().filter(|process| is_of(*process)).collect())
}
