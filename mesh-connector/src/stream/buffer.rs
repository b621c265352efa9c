//! The read buffer of a stream.

use std::{
    future::Future as _,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

/// The maximum size of a read: one TLS record.
const CAPACITY: usize = 16 * 1024;

/// The buffer behind an [`AsyncBufRead`](tokio::io::AsyncBufRead). It holds no memory while its reader waits, because
/// most connections are idle most of the time.
#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    consumed: usize,
}

impl ReadBuffer {
    /// Creates a buffer with initial content.
    #[cfg(feature = "bridge")]
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, consumed: 0 }
    }

    fn unread(&self) -> &[u8] {
        &self.bytes[self.consumed..]
    }

    /// Returns the unread bytes. If there are none, reads from `reader`. Returns an empty slice if the data of `reader`
    /// has ended.
    pub(crate) fn poll_fill<R>(&mut self, cx: &mut Context<'_>, reader: &mut R) -> Poll<io::Result<&[u8]>>
    where
        R: AsyncRead + Unpin,
    {
        if self.unread().is_empty() {
            self.consumed = 0;
            self.bytes.clear();
            self.bytes.reserve(CAPACITY);
            let Poll::Ready(read) = pin!(reader.read_buf(&mut self.bytes)).poll(cx) else {
                self.bytes = Vec::new();
                return Poll::Pending;
            };
            read?;
        }
        Poll::Ready(Ok(self.unread()))
    }

    /// Marks `count` unread bytes as consumed.
    pub(crate) fn consume(&mut self, count: usize) {
        self.consumed += count;
        debug_assert!(self.consumed <= self.bytes.len(), "consumed more bytes than the buffer contains");
    }

    /// Copies the unread bytes to `buf`. If there are none, reads directly from `reader`.
    pub(crate) fn poll_read<R>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
    {
        if self.unread().is_empty() {
            return Pin::new(reader).poll_read(cx, buf);
        }
        let count = buf.remaining().min(self.unread().len());
        buf.put_slice(&self.unread()[..count]);
        self.consume(count);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[tokio::test]
    async fn unread_bytes_are_returned_first_by_all_ways_of_reading() {
        let (mut near, mut far) = tokio::io::duplex(64);
        far.write_all(b"abcdef").await.unwrap();
        let mut buffer = ReadBuffer::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(matches!(buffer.poll_fill(&mut cx, &mut near), Poll::Ready(Ok(b"abcdef"))));
        buffer.consume(2);
        let mut bytes = [0; 3];
        let mut read = ReadBuf::new(&mut bytes);
        assert!(buffer.poll_read(&mut cx, &mut near, &mut read).is_ready());
        assert_eq!(read.filled(), b"cde");
        assert!(matches!(buffer.poll_fill(&mut cx, &mut near), Poll::Ready(Ok(b"f"))));
        buffer.consume(1);
        drop(far);
        assert!(matches!(buffer.poll_fill(&mut cx, &mut near), Poll::Ready(Ok(b""))));
    }

    #[tokio::test]
    async fn a_reader_that_waits_holds_no_memory() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let mut buffer = ReadBuffer::default();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        far.write_all(b"a").await.unwrap();
        assert!(buffer.poll_fill(&mut cx, &mut near).is_ready());
        buffer.consume(1);
        assert!(buffer.poll_fill(&mut cx, &mut near).is_pending());
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
