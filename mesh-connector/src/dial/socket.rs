//! TCP connections to endpoints.

use std::{io, net::SocketAddr};

use nds_client::resources::cluster::TcpKeepalive;
use sidestep_util::happy_eyeballs::{self, ATTEMPT_DELAY};
use socket2::SockRef;
use tokio::net::TcpStream;

/// Connects to the addresses (Happy Eyeballs, RFC 8305) and returns the first connection that is established.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    keepalive: Option<TcpKeepalive>,
) -> io::Result<TcpStream> {
    let connected = happy_eyeballs::connect(addresses, ATTEMPT_DELAY, TcpStream::connect).await;
    let tcp = connected.map_err(|mut errors| {
        errors.pop().unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    })?;
    tcp.set_nodelay(true)?;
    keepalive.map_or(Ok(()), |keepalive| keep_alive(&tcp, keepalive))?;
    Ok(tcp)
}

/// Enables TCP keepalive. The system's defaults apply to parameters that the control plane does not set.
fn keep_alive(tcp: &TcpStream, wanted: TcpKeepalive) -> io::Result<()> {
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(time) = wanted.time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = wanted.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = wanted.probes {
        keepalive = keepalive.with_retries(probes);
    }
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn keepalive_follows_the_cluster_and_is_off_by_default() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut wanted = TcpKeepalive::default();
        let time = Duration::from_secs(77);
        (wanted.time, wanted.interval, wanted.probes) = (Some(time), Some(Duration::from_secs(7)), Some(3));
        let tcp = connect(&[address], Some(wanted)).await.unwrap();
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
            (time, Duration::from_secs(7))
        );
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        let tcp = connect(&[address], None).await.unwrap();
        assert!(!SockRef::from(&tcp).keepalive().unwrap());
    }
}
