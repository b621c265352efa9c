//! Istio's agent with its DNS proxy, in a mount namespace with a resolv.conf of its own.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::RealMesh;

/// Whether this can be had on this machine: the agent reads /etc/resolv.conf, which has no place for a port.
///
/// # Errors
///
/// Why not.
pub fn possible() -> Result<(), String> {
    UdpSocket::bind((Ipv4Addr::new(127, 251, 9, 53), 53))
        .map_err(|error| format!("port 53 of a loopback address cannot be bound: {error}"))?;
    let mounts = std::process::Command::new("unshare").args(["-m", "true"]).output();
    match mounts {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("`unshare -m` does not work here".to_owned()),
    }
}

/// A running agent; it ends with the value.
#[derive(Debug)]
pub struct DnsAgent {
    /// Where it answers DNS.
    pub dns: SocketAddr,
    _input: ChildStdin,
    _output: Lines<BufReader<ChildStdout>>,
    process: Child,
}

impl DnsAgent {
    /// Starts the agent of `files`' VM, a workload of namespace `weather` with the service account `dns-agent`, and waits
    /// until its Envoy listens on port 3002.
    pub async fn start(real: &RealMesh, files: &Path, resolv_conf: &Path) -> Self {
        let dns = free_port();
        let text = |path: &Path| path.display().to_string();
        let (istiod, address) = (real.address().to_string(), real.ip(1, 60));
        let wait = format!("{}:3002", real.ip(1, 61));
        let (root, token) = (text(&files.join("root-cert.pem")), text(&files.join("istio-token")));
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"", "sh"])
            .arg(resolv_conf)
            .arg(super::find().unwrap())
            .args(["sidecar", "--istiod", &istiod, "--root", &root, "--token", &token])
            .args(["--cluster", "cluster1", "--network", "network1", "--address", &address])
            .args(["--namespace", "weather", "--service-account", "dns-agent", "--labels", "app=dns-agent"])
            .args(["--wait", &wait, "--dir", &text(&files.join("agent"))])
            .env("ISTIO_META_DNS_CAPTURE", "true")
            .env("DNS_PROXY_ADDR", dns.to_string());
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(Duration::from_secs(60), output.next_line()).await.expect("a sidecar in time");
        let line = line.unwrap().expect("a sidecar that is ready; see its log above");
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["event"], "ready", "{ready}");
        Self { dns, _input: input, _output: output, process }
    }

    /// Its process; Envoy is another.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }
}

/// A port that was free for both transports just now: the agent cannot say which one it has got.
fn free_port() -> SocketAddr {
    loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
