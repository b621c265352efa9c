//! The client side of a relay.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::{bridge::local_socket::LocalSocket, stream::ReadBuffer};

/// The socket of a client, with a read buffer.
#[derive(Debug)]
pub(super) struct Client<S> {
    socket: S,
    buffer: ReadBuffer,
    /// Whether the client has closed its reading or its writing direction.
    half_closed: bool,
}

impl<S: LocalSocket> Client<S> {
    pub(super) fn new(socket: S, read: Vec<u8>) -> Self {
        Self { socket, buffer: ReadBuffer::from_bytes(read), half_closed: false }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    /// Returns whether the client has closed at least one direction of its socket.
    pub(super) fn is_half_closed(&self) -> bool {
        self.half_closed
    }
}

impl<S: LocalSocket> AsyncRead for Client<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, buffer, .. } = self.get_mut();
        buffer.poll_read(cx, socket, buf)
    }
}

impl<S: LocalSocket> AsyncBufRead for Client<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let Self { socket, buffer, half_closed } = self.get_mut();
        let bytes = ready!(buffer.poll_fill(cx, socket))?;
        *half_closed |= bytes.is_empty();
        Poll::Ready(Ok(bytes))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.buffer.consume(count);
    }
}

impl<S: LocalSocket> AsyncWrite for Client<S> {
    /// Writes to the client. Data that the client no longer reads is discarded without an error, because data that the
    /// client wrote before must still be delivered.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.socket).poll_write(cx, buf)) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.half_closed = true;
                Poll::Ready(Ok(buf.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_shutdown(cx)) {
            // The client has closed the connection.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}
