//! The DNS server outside the mesh. It answers only the names in `upstream.hosts`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;

use crate::error::{Error, Result};
use crate::listen;
use crate::tasks::TaskGroup;

pub(crate) mod answer;
pub(crate) mod hosts;

use hosts::Hosts;

/// A DNS server that uses the same port for UDP and TCP.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    zone: Arc<Zone>,
    tasks: TaskGroup,
}

/// The names that the server answers, and the number of queries for each name.
#[derive(Debug, Default)]
struct Zone {
    hosts: RwLock<Hosts>,
    queries: Mutex<BTreeMap<String, u64>>,
}

impl Upstream {
    pub(crate) async fn start(runtime: &Handle, hosts: Hosts) -> Result<Self> {
        let (listener, socket) = bind().await?;
        let address = listen::address(&listener)?;
        let zone = Arc::new(Zone { hosts: RwLock::new(hosts), queries: Mutex::default() });
        let tasks = TaskGroup::new(runtime);
        tasks.spawn(udp(zone.clone(), socket));
        tasks.spawn(tcp(zone.clone(), listener, TaskGroup::new(runtime)));
        Ok(Self { address, zone, tasks })
    }

    pub(crate) fn set_hosts(&self, hosts: Hosts) {
        *self.zone.hosts.write() = hosts;
    }

    /// Returns the number of queries for a name, over all record types.
    pub(crate) fn queries(&self, name: &str) -> u64 {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.zone.queries.lock().get(&name).copied().unwrap_or_default()
    }

    pub(crate) async fn close(&self) {
        self.tasks.close().await;
    }
}

/// Binds the same free port for TCP and UDP. A port that is free for TCP may be in use for UDP, so the function tries
/// several ports.
async fn bind() -> Result<(TcpListener, UdpSocket)> {
    let mut attempts = 0;
    loop {
        let listener = listen::tcp("the upstream DNS server", listen::ANY)?;
        let address = listen::address(&listener)?;
        attempts += 1;
        match UdpSocket::bind(address).await {
            Ok(socket) => return Ok((listener, socket)),
            Err(_) if attempts < 16 => {}
            Err(source) => return Err(Error::bind("the upstream DNS server", address, source)),
        }
    }
}

impl Zone {
    fn answer(&self, query: &[u8], transport: answer::Transport) -> Option<Vec<u8>> {
        let (name, response) = answer::answer(&self.hosts.read(), query, transport)?;
        *self.queries.lock().entry(name).or_default() += 1;
        Some(response)
    }
}

async fn udp(zone: Arc<Zone>, socket: UdpSocket) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // The error of an earlier send is reported here, for example because its client has gone. Nothing can be done
        // about it.
        let Ok((count, peer)) = socket.recv_from(&mut buffer).await else { continue };
        if let Some(response) = zone.answer(&buffer[..count], answer::Transport::Udp) {
            let _ = socket.send_to(&response, peer).await;
        }
    }
}

async fn tcp(zone: Arc<Zone>, listener: TcpListener, connections: TaskGroup) {
    let connection = |stream, _| {
        let zone = zone.clone();
        async move {
            let _ = tcp_connection(&zone, stream).await;
        }
    };
    listen::serve(listener, &connections, connection).await;
}

async fn tcp_connection(zone: &Zone, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await?;
        let Some(response) = zone.answer(&query, answer::Transport::Tcp) else { return Ok(()) };
        let Ok(length) = u16::try_from(response.len()) else { return Ok(()) };
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(&response);
        stream.write_all(&framed).await?;
    }
}
