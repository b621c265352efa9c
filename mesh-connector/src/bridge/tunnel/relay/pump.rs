//! Copies bytes in one direction.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncBufRead, AsyncWrite};

/// Copies bytes like [`tokio::io::copy_buf`], but also forwards the end of the data. Borrows the reader and the writer
/// only during a poll, because the opposite direction uses them too.
#[derive(Debug, Default)]
pub(super) struct Pump {
    state: State,
    /// Whether written data may not have been flushed yet.
    unflushed: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Passing,
    Ending,
    Ended,
}

impl Pump {
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncBufRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while self.state == State::Passing {
            let Poll::Ready(bytes) = Pin::new(&mut *reader).poll_fill_buf(cx)? else {
                ready!(self.poll_flush(cx, writer))?;
                return Poll::Pending;
            };
            if bytes.is_empty() {
                self.state = State::Ending;
                break;
            }
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            Pin::new(&mut *reader).consume(written);
            self.unflushed = true;
        }
        if self.state == State::Ending {
            ready!(Pin::new(writer).poll_shutdown(cx))?;
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<W>(&mut self, cx: &mut Context<'_>, writer: &mut W) -> Poll<io::Result<()>>
    where
        W: AsyncWrite + Unpin,
    {
        if self.unflushed {
            ready!(Pin::new(writer).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}
