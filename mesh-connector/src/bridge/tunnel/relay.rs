//! Relays bytes in both directions until both have ended.
//!
//! Data is written directly from the buffer that it was read into. For data from the mesh, this is the buffer of the
//! TLS decryption.

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

/// The time limit for delivering data that the client had written before it closed its socket.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Relays bytes between a client and a mesh stream until both directions have ended. The end of one direction leaves
/// the other open. Backpressure applies in both directions.
///
/// If the client closes its socket completely, both directions end. Data that the client had written before is still
/// delivered to the service, for at most ten seconds. If a TCP client shuts down its writing side before it closes the
/// socket, the kernel detects the close after about a minute.
///
/// # Errors
///
/// An I/O error of the client or of the stream. Both connections are then reset, so that truncated data does not look
/// complete.
///
/// # Cancel safety
///
/// Dropping the future loses data that was read and not yet written.
pub async fn relay<S: LocalSocket>(client: S, stream: MeshStream) -> io::Result<()> {
    relay_after(&[], client, stream).await
}

/// Like [`relay`], for a client from which the bytes in `read` have already been read.
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
    /// Copies bytes from the client to the mesh.
    up: Pump,
    /// Copies bytes from the mesh to the client.
    down: Pump,
}

impl<S: LocalSocket> Relay<S> {
    async fn run(&mut self) -> io::Result<()> {
        let ended = poll_fn(|cx| match self.poll(cx)? {
            Poll::Ready(()) => Poll::Ready(Ok::<_, io::Error>(true)),
            // A separate check for a closed socket is needed only if the client has closed one direction. Before,
            // reading detects it.
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
        timeout(DELIVERY_TIMEOUT, delivered).await.unwrap_or(Ok(()))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let up = self.up.poll(cx, &mut self.client, &mut self.stream)?;
        let down = self.down.poll(cx, &mut self.stream, &mut self.client)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Makes both connections send a reset when they are closed.
    fn reset(&self) {
        self.client.socket().reset();
        // The call fails only if the peer has closed the connection.
        let _ = self.stream.tcp().set_zero_linger();
    }
}
