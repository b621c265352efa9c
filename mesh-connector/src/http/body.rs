//! The body of a request, as one type for all users of a pool.

use std::{
    any::Any,
    error::Error as StdError,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::{Buf, Bytes};

type BoxError = Box<dyn StdError + Send + Sync>;

/// The body of a request. Empty bodies and `Full<Bytes>` allocate nothing.
pub(crate) enum RequestBody {
    Full(Full<Bytes>),
    Stream(Stream),
}

/// A body that hyper polls while it sends it.
pub(crate) struct Stream {
    body: Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>,
    sent: Sent,
}

/// Whether hyper has finished with the body of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl RequestBody {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::Full(Full::default());
        }
        let mut body = Some(body);
        let full = (&mut body as &mut dyn Any).downcast_mut::<Option<Full<Bytes>>>().and_then(Option::take);
        match (full, body) {
            (None, Some(body)) => {
                Self::Stream(Stream { body: Box::pin(Erased(body)), sent: Sent::default() })
            }
            (full, _) => Self::Full(full.unwrap_or_default()),
        }
    }

    /// For a body that takes time to send: whether that has ended.
    pub(super) fn sent(&self) -> Option<Sent> {
        match self {
            Self::Full(_) => None,
            Self::Stream(stream) => Some(stream.sent.clone()),
        }
    }
}

impl Sent {
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sent.0.store(true, Ordering::Release);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Full(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Self::Stream(stream) => stream.body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.is_end_stream(),
            Self::Stream(stream) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Stream(stream) => stream.body.size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

/// A body whose data is [`Bytes`] and whose error is boxed. Unlike the combinators of http-body-util it keeps the size.
struct Erased<B>(B);

impl<B> Body for Erased<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Copies nothing where the data is `Bytes` already.
        let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        Poll::Ready(match ready!(Pin::new(&mut self.0).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame.map_data(bytes))),
            Some(Err(error)) => Some(Err(error.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
