//! A TCP connection, before anything protects it.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use nds_client::TcpKeepalive;
use socket2::SockRef;
use tokio::{net::TcpStream, time::sleep};

/// How long an address is waited for before the next one is tried beside it (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to one of the addresses of an endpoint.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    keepalive: Option<TcpKeepalive>,
) -> io::Result<TcpStream> {
    let tcp = match addresses {
        [only] => TcpStream::connect(only).await?,
        several => first_to_answer(several).await?,
    };
    tcp.set_nodelay(true)?;
    keepalive.map_or(Ok(()), |keepalive| keep_alive(&tcp, keepalive))?;
    Ok(tcp)
}

/// Attempts are begun in order: an address that swallows everything does not hold up the next.
async fn first_to_answer(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut addresses = addresses.iter().copied().peekable();
    let mut attempts = FuturesUnordered::new();
    loop {
        attempts.extend(addresses.next().map(TcpStream::connect));
        let ended = tokio::select! {
            ended = attempts.next() => ended,
            () = sleep(STAGGER), if addresses.peek().is_some() => continue,
        };
        match ended {
            Some(Ok(tcp)) => return Ok(tcp),
            Some(Err(error)) => last = error,
            None => return Err(last),
        }
    }
}

/// What the control plane leaves open is the system's to say.
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
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn keepalive_is_what_the_cluster_says_and_off_where_it_says_nothing() {
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
