//! The DNS server of the sandbox on port 53, which a resolv.conf requires.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// A relay of DNS queries over UDP, which ends when the value is dropped.
pub(crate) struct Relay {
    address: IpAddr,
    task: JoinHandle<()>,
}

impl Relay {
    /// Binds port 53 of an unused loopback address.
    pub(crate) async fn start(server: SocketAddr) -> io::Result<Self> {
        let mut last = None;
        for host in 1..=250 {
            let address = IpAddr::V4(Ipv4Addr::new(127, 251, 53, host));
            match UdpSocket::bind((address, 53)).await {
                Ok(socket) => return Ok(Self { address, task: tokio::spawn(relay(socket, server)) }),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Relays one query at a time, which is sufficient for istiod.
async fn relay(clients: UdpSocket, server: SocketAddr) {
    let Ok(upstream) = UdpSocket::bind("127.0.0.1:0").await else { return };
    let mut room = [0; 4096];
    while let Ok((len, client)) = clients.recv_from(&mut room).await {
        if upstream.send_to(&room[..len], server).await.is_ok()
            && let Ok(len) = upstream.recv(&mut room).await
        {
            let _ = clients.send_to(&room[..len], client).await;
        }
    }
}
