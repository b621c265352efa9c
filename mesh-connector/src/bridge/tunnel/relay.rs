//! Bytes in both directions until both have ended.
//!
//! Each is passed on from where it was read into, without another copy: what comes from the mesh, from where TLS has put
//! it, because per byte that is what a bridge costs.

mod client;
mod pump;

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::timeout;

use self::{client::Client, pump::Pump};
use crate::{
    bridge::local_socket::{LocalSocket, hang_up},
    stream::MeshStream,
};

/// How long the service may take to accept what a client had written before it closed its socket.
const FAREWELL: Duration = Duration::from_secs(10);

/// Passes bytes between a client and the mesh until both directions have ended. The end of one is passed on and leaves the
/// other open; the slower side sets the pace.
///
/// A client that has closed its socket altogether ends both: what it had written before arrives, as with any socket, unless
/// the service does not accept it within ten seconds. On a TCP socket that the client had shut down for writing before, the
/// kernel takes about a minute to notice.
///
/// # Errors
///
/// Either side broke. The other is reset: what has not ended must not look ended.
///
/// # Cancel safety
///
/// Dropping the future loses what was read and not passed on.
pub async fn relay<S: LocalSocket>(client: S, stream: MeshStream) -> io::Result<()> {
    relay_after(&[], client, stream).await
}

/// [`relay`] after these bytes of the client's have been read.
pub(in crate::bridge) async fn relay_after<S: LocalSocket>(
    read: &[u8],
    client: S,
    stream: MeshStream,
) -> io::Result<()> {
    let client = Client::new(client, read.to_vec());
    let mut relay = Relay { client, stream, up: Pump::default(), down: Pump::default() };
    relay.run().await.inspect_err(|_| relay.reset())
}

struct Relay<S> {
    client: Client<S>,
    stream: MeshStream,
    /// From the client to the mesh.
    up: Pump,
    /// From the mesh to the client.
    down: Pump,
}

impl<S: LocalSocket> Relay<S> {
    async fn run(&mut self) -> io::Result<()> {
        let ended = poll_fn(|cx| match self.poll(cx)? {
            Poll::Ready(()) => Poll::Ready(Ok::<_, io::Error>(true)),
            // Before that, reading from it tells.
            Poll::Pending if self.client.is_half_closed() => Poll::Ready(Ok(false)),
            Poll::Pending => Poll::Pending,
        });
        if ended.await? {
            return Ok(());
        }
        let gone = hang_up(self.client.socket());
        tokio::select! {
            biased;
            passed = poll_fn(|cx| self.poll(cx)) => return passed,
            () = gone => {}
        }
        let delivered = poll_fn(|cx| self.up.poll(cx, &mut self.client, &mut self.stream));
        timeout(FAREWELL, delivered).await.unwrap_or(Ok(()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = self.up.poll(cx, &mut self.client, &mut self.stream)?;
        let down = self.down.poll(cx, &mut self.stream, &mut self.client)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Makes closing both connections a reset.
    fn reset(&self) {
        self.client.socket().reset();
        // Where it fails, the peer has gone already.
        let _ = self.stream.tcp().set_zero_linger();
    }
}
