//! The DNS servers: Sidestep's and the echo loop as child processes, and installed peers.

mod agent;

use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mesh_resolver::{MeshResolver, SearchScope, Upstream, listener::DnsListener};
use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};

use super::{
    name_table,
    names::{Names, message},
    socket,
};
use crate::{Failure, fixture::name};

pub(super) const UNBOUND: &str = "unbound";

/// A running server.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) pid: u32,
    _running: Box<dyn Running>,
}

/// A guard that stops a server when it is dropped.
trait Running {}

struct Process(Child);

impl Running for Process {}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The timeout of the first answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Server {
    /// Starts a server of this program.
    pub(super) fn own(what: &str) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["dns", "--child", &format!("dns-{what}")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Self::when_ready(process, line.trim().parse()?)
    }

    fn when_ready(process: Child, address: SocketAddr) -> Result<Self, Failure> {
        let server = Self { address, pid: process.id(), _running: Box::new(Process(process)) };
        server.answers()?;
        Ok(server)
    }

    /// Sends queries until the last name is answered.
    fn answers(&self) -> Result<(), Failure> {
        let (socket, question) = (socket()?, message(&name(super::NAMES - 1)));
        socket.connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let (start, mut answer) = (Instant::now(), [0; 512]);
        while start.elapsed() < PATIENCE {
            let _ = socket.send(&question);
            match socket.recv(&mut answer) {
                Ok(len) if len >= question.len() && answer[3] & 0x0f == 0 => return Ok(()),
                // The server has not started or does not have the name yet; retry after a pause.
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err(format!("no answer from {}", self.address).into())
    }
}

/// Starts every peer, or returns why it is missing.
pub(super) fn peers(names: &Names) -> [(&'static str, Result<Server, String>); 3] {
    let as_text = |server: Result<Server, Failure>| server.map_err(|error| error.to_string());
    [
        (UNBOUND, as_text(unbound(names))),
        ("dnsmasq", as_text(dnsmasq(names))),
        ("Istio's agent", as_text(agent::start(names))),
    ]
}

fn unbound(names: &Names) -> Result<Server, Failure> {
    let address = socket()?.local_addr()?;
    let config = names.dir().join("unbound.conf");
    let text = format!(
        "server:\n  interface: {}@{}\n  num-threads: 1\n  do-daemonize: no\n  use-syslog: no\n  verbosity: 0\n  \
         chroot: \"\"\n  username: \"\"\n  directory: \"{}\"\n  pidfile: \"\"\n  do-not-query-localhost: yes\n  \
         module-config: \"iterator\"\n  local-zone: \"cluster.local.\" static\n{}remote-control:\n  control-enable: no\n",
        address.ip(),
        address.port(),
        names.dir().display(),
        names.local_data()
    );
    fs::write(&config, text)?;
    start(tied("unbound", "unbound")?.arg("-d").arg("-c").arg(&config), address)
}

fn dnsmasq(names: &Names) -> Result<Server, Failure> {
    let address = socket()?.local_addr()?;
    let hosts = format!("--addn-hosts={}", names.hosts()?.display());
    let port = format!("--port={}", address.port());
    let listen = format!("--listen-address={}", address.ip());
    let mut command = tied("dnsmasq", "dnsmasq-base")?;
    command
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--bind-interfaces",
            "--no-resolv",
            "--no-hosts",
        ])
        .args(["--pid-file=", "--user=root", &port, &listen, &hosts]);
    start(&mut command, address)
}

/// Returns a command that ends together with this process (setpriv(1); prctl(2), `PR_SET_PDEATHSIG`).
fn tied(program: &str, package: &str) -> Result<Command, Failure> {
    let there = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    there.map_err(|error| format!("{error} (Debian package {package})"))?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    Ok(command)
}

fn start(command: &mut Command, address: SocketAddr) -> Result<Server, Failure> {
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Server::when_ready(process, address)
}

/// Runs a server of this program.
pub(super) fn serve(what: &str) -> Result<String, Failure> {
    match what {
        "ours" => ours()?,
        "echo" => echo()?,
        _ => return Err(format!("unknown server: {what}").into()),
    }
    Ok(String::new())
}

/// Prints the address and waits for the end of standard input.
fn announce(address: SocketAddr) -> io::Result<()> {
    writeln!(io::stdout(), "{address}")?;
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

fn ours() -> Result<(), Failure> {
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let table = NameTable::decode(&name_table())?;
    let (names, health) = (WatchSender::new(table), WatchSender::new(health));
    let scope = SearchScope::new("namespace-11", "svc.cluster.local");
    let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
    let resolver = builder.with_upstream(Upstream::none()).build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let builder = DnsListener::builder(resolver).bind("127.0.0.1:0").with_runtime(runtime.handle().clone());
    let listener = builder.start()?;
    announce(*listener.addresses().first().ok_or("no address")?)?;
    Ok(())
}

/// Runs a minimal server: one thread with a blocking socket that sends every packet back.
fn echo() -> Result<(), Failure> {
    let socket = socket()?;
    let address = socket.local_addr()?;
    std::thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok((len, peer)) = socket.recv_from(&mut packet) {
            // Sets the response flag, which is sufficient for clients.
            packet[2] |= 0x80;
            let _ = socket.send_to(&packet[..len], peer);
        }
    });
    Ok(announce(address)?)
}
