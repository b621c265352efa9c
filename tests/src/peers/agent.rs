//! Istio's agent with its DNS proxy, in a mount namespace with its own resolv.conf.

use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
};

use super::{Child, RealMesh};

/// The Sidecar of the agent's VM. Its Envoy listens on port 3002, and both DNS proxies get the hosts with this port.
pub const SIDECAR: &str = r#"apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: dns-agent, namespace: weather}
spec:
  workloadSelector: {labels: {app: dns-agent}}
  egress:
    - port: {number: 3002, name: http, protocol: HTTP}
      bind: 127.0.1.61
      captureMode: NONE
      hosts: ["*/*"]
"#;

/// A running agent, which stops when it is dropped.
#[derive(Debug)]
pub struct DnsAgent {
    /// The address of the DNS proxy.
    pub dns: SocketAddr,
    process: Child,
}

impl DnsAgent {
    /// Starts the agent of the VM in `files`, a workload of namespace `weather` with the service account `dns-agent`,
    /// and waits until its Envoy listens on port 3002.
    pub async fn start(real: &RealMesh, files: &Path, resolv_conf: &Path) -> Self {
        let dns = free_port();
        let text = |path: &Path| path.display().to_string();
        let (istiod, address) = (real.address().to_string(), real.ip(1, 60));
        let wait = format!("{}:3002", real.ip(1, 61));
        let (root, token) = (text(&files.join("root-cert.pem")), text(&files.join("istio-token")));
        let dir = text(&files.join("agent"));
        let peer = ["sidecar", "--istiod", &istiod, "--root", &root, "--token", &token];
        let place = ["--cluster", "cluster1", "--network", "network1", "--address", &address];
        let who = ["--namespace", "weather", "--service-account", "dns-agent", "--labels", "app=dns-agent"];
        let arguments = [&peer[..], &place, &who, &["--wait", &wait, "--dir", &dir]].concat();
        let proxy = dns.to_string();
        let environment = [("ISTIO_META_DNS_CAPTURE", "true"), ("DNS_PROXY_ADDR", proxy.as_str())];
        let process = Child::start_with_resolv_conf(resolv_conf, arguments, &environment).await;
        Self { dns, process }
    }

    /// Returns the process id of the agent. Envoy is a different process.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }
}

/// Returns a port that is free for UDP and TCP. The agent cannot report a port that it binds itself.
fn free_port() -> SocketAddr {
    loop {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}
