//! Bytes in both directions until both have ended.
//!
//! What comes from the mesh is passed on from where TLS has put it, without another copy: per byte that is what a bridge
//! costs. What goes there takes one buffer, while something is on its way.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::MeshStream;

/// What is read from the client at a time: a TLS record.
const BUFFER: usize = 16 * 1024;

/// Passes bytes between a client of the program's own and the mesh until both directions have ended. The end of one is
/// passed on and leaves the other open; the slower side sets the pace.
///
/// The client is read after its end too, and that it has gone altogether is an error of that: a client that cannot tell
/// goes on saying that it is at its end.
///
/// # Errors
///
/// Either side broke.
///
/// # Cancel safety
///
/// Dropping the future loses what was read and not passed on.
pub async fn relay<C>(client: &mut C, stream: &mut MeshStream) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Up::new(), Down(Way::Passing));
    poll_fn(|cx| {
        let up = up.poll(cx, client, stream)?;
        let down = down.poll(cx, client, stream)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// From the client to the mesh.
struct Up {
    /// What has been read.
    buffer: Vec<u8>,
    /// How much of it has been written.
    written: usize,
    /// Whether something that was written may still be on this side.
    flush: bool,
    state: Way,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Passing,
    Ending,
    Ended,
}

impl Up {
    fn new() -> Self {
        Self { buffer: Vec::new(), written: 0, flush: false, state: Way::Passing }
    }

    fn poll<C>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        stream: &mut MeshStream,
    ) -> Poll<io::Result<()>>
    where
        C: AsyncRead + Unpin,
    {
        while self.state == Way::Passing {
            if self.written < self.buffer.len() {
                let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.buffer[self.written..]))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.written += written;
                self.flush = true;
                continue;
            }
            self.buffer.clear();
            self.buffer.reserve(BUFFER);
            self.written = 0;
            match pin!(client.read_buf(&mut self.buffer)).poll(cx)? {
                Poll::Ready(0) => self.state = Way::Ending,
                Poll::Ready(_) => {}
                Poll::Pending => {
                    // Most connections are idle most of the time.
                    self.buffer = Vec::new();
                    if self.flush {
                        ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                        self.flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        if self.state == Way::Ending {
            ready!(Pin::new(stream).poll_shutdown(cx))?;
            self.state = Way::Ended;
        }
        // Nobody waits for what the mesh still sends where the client has gone meanwhile.
        let _still_at_its_end = Pin::new(client).poll_read(cx, &mut ReadBuf::new(&mut [0]))?;
        Poll::Ready(Ok(()))
    }
}

/// From the mesh to the client.
struct Down(Way);

impl Down {
    fn poll<C>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        stream: &mut MeshStream,
    ) -> Poll<io::Result<()>>
    where
        C: AsyncWrite + Unpin,
    {
        while self.0 == Way::Passing {
            let chunk = ready!(stream.poll_chunk(cx))?;
            if chunk.is_empty() {
                self.0 = Way::Ending;
                break;
            }
            match ready!(Pin::new(&mut *client).poll_write(cx, chunk))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => stream.consume(written),
            }
        }
        if self.0 == Way::Ending {
            ready!(Pin::new(client).poll_shutdown(cx))?;
            self.0 = Way::Ended;
        }
        Poll::Ready(Ok(()))
    }
}
