//! The bridge's end of a connection whose other end a client on this host holds.

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

/// When the other end of a half-closed TCP connection is probed: after so long without a packet.
const PROBE_AFTER: Duration = Duration::from_secs(15);

/// A connected socket whose other end a client on this host holds, for [`relay`](super::relay).
pub trait LocalSocket: AsyncRead + AsyncWrite + AsFd + Unpin + Send + Sealed {
    /// Makes closing the socket a reset, where it is of a kind that has resets: a client must not take what was cut off
    /// for the whole.
    fn reset(&self);
}

impl LocalSocket for TcpStream {
    fn reset(&self) {
        // It fails where the client has gone already.
        let _ = self.set_zero_linger();
    }
}

impl LocalSocket for UnixStream {
    fn reset(&self) {}
}

mod sealed {
    /// What only this crate asks of a socket.
    pub trait Sealed {
        /// Has the kernel notice a client that closes its socket after it has shut down the writing side.
        fn probe(&self) {}
    }
}

impl Sealed for UnixStream {}

impl Sealed for TcpStream {
    /// Closing such a socket sends nothing, because its FIN has been sent. The kernel forgets it after
    /// `tcp_fin_timeout` (60 s), and answers the keepalive probe that follows with a reset.
    fn probe(&self) {
        let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER);
        // It fails where the client has gone already.
        let _ = SockRef::from(self).set_tcp_keepalive(&probes);
    }
}

/// Waits until the client has closed its socket altogether, and not only for writing.
pub(super) fn hang_up<S: LocalSocket>(socket: &S) -> impl Future<Output = ()> + use<S> {
    socket.probe();
    let socket = socket.as_fd().try_clone_to_owned();
    async {
        if let Err(error) = hung_up(socket).await {
            // Descriptors have run out: the client is noticed when the service speaks.
            tracing::debug!(%error, "the hang-up of a client cannot be watched for");
            pending().await
        }
    }
}

/// Waits with a registration of its own, in which it does not matter that the socket is ready for writing.
async fn hung_up(socket: io::Result<OwnedFd>) -> io::Result<()> {
    // Of which kind it is does not matter either.
    let socket = UnixStream::from_std(socket?.into())?;
    while !socket.ready(Interest::WRITABLE).await?.is_write_closed() {
        // Waits for the next event.
        let _ = socket.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_tcp_client_is_probed_and_a_hang_up_is_noticed_though_nothing_is_said() {
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
    async fn a_half_closed_client_has_not_gone() {
        use tokio::io::AsyncWriteExt as _;

        let (mut client, mut socket) = UnixStream::pair().unwrap();
        client.shutdown().await.unwrap();
        let gone = hang_up(&socket);
        // The relay writes meanwhile: the socket is ready again and again.
        let said = async {
            for _ in 0..100 {
                socket.write_all(b"an answer").await.unwrap();
            }
        };
        tokio::select! {
            biased;
            () = gone => panic!("it still reads"),
            () = said => {}
        }
    }
}
