//! Sockets to local clients.

use std::{
    future::pending,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::{TcpStream, UnixStream},
};

use self::sealed::Sealed;

/// The idle time after which a half-closed TCP connection is probed, and the interval of the probes.
const PROBE_AFTER: Duration = Duration::from_secs(15);

/// A connected socket to a client on this host, for [`relay`](super::relay).
pub trait LocalSocket: AsyncRead + AsyncWrite + AsFd + Unpin + Send + Sealed {
    /// Makes the socket send a reset when it is closed, if its type supports resets. The client can then detect
    /// truncated data.
    fn reset(&self);
}

impl LocalSocket for TcpStream {
    fn reset(&self) {
        // The call fails only if the client has closed the connection.
        let _ = self.set_zero_linger();
    }
}

impl LocalSocket for UnixStream {
    fn reset(&self) {}
}

mod sealed {
    /// Socket operations that only this crate uses. Other crates cannot implement this trait.
    pub trait Sealed {
        /// Makes the kernel detect a client that closes its socket after it has shut down the writing side.
        fn probe(&self) {}
    }
}

impl Sealed for UnixStream {}

impl Sealed for TcpStream {
    /// Enables TCP keepalive. If the client has shut down its writing side, the kernel sends nothing when the client
    /// closes the socket, because it has sent the FIN before. It drops the socket of the client after `tcp_fin_timeout`
    /// (60 s), and then answers the next keepalive probe with a reset.
    fn probe(&self) {
        let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER);
        // The call fails only if the client has closed the connection.
        let _ = SockRef::from(self).set_tcp_keepalive(&probes);
    }
}

/// Waits until the client has closed its socket in both directions.
pub(super) fn hang_up<S: LocalSocket>(socket: &S) -> impl Future<Output = ()> + use<S> {
    socket.probe();
    let socket = socket.as_fd().try_clone_to_owned();
    async {
        if let Err(error) = hung_up(socket).await {
            // No descriptor is free. The next write of data from the service detects the closed socket.
            tracing::debug!(%error, "cannot detect when a client of the bridge closes its connection");
            pending().await
        }
    }
}

/// Waits with a separate registration in the reactor, so that readiness for writing does not wake the task of the
/// relay.
async fn hung_up(socket: io::Result<OwnedFd>) -> io::Result<()> {
    // The reactor treats all types of sockets alike, so `UnixStream` also serves for TCP.
    let socket = UnixStream::from_std(socket?.into())?;
    while !socket.ready(Interest::WRITABLE).await?.is_write_closed() {
        // Clears the readiness, to wait for the next event.
        let _ = socket.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_hang_up_of_a_silent_tcp_client_is_detected_by_probes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let gone = hang_up(&socket);
        assert!(SockRef::from(&socket).keepalive().unwrap());
        client.set_zero_linger().unwrap();
        drop(client);
        gone.await;
    }

    #[tokio::test]
    async fn a_half_closed_client_is_not_hung_up() {
        use tokio::io::AsyncWriteExt as _;

        let (mut client, mut socket) = UnixStream::pair().unwrap();
        client.shutdown().await.unwrap();
        let gone = hang_up(&socket);
        // The relay keeps writing, so the socket becomes ready again and again.
        let said = async {
            for _ in 0..100 {
                socket.write_all(b"an answer").await.unwrap();
            }
        };
        tokio::select! {
            biased;
            () = gone => panic!("the client still reads"),
            () = said => {}
        }
    }
}
