//! A request body type that all users of a connection pool share.

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

/// The body of a request. `None` is an empty body, which does not allocate. The body is boxed, because hyper moves a
/// request many times.
#[derive(Default)]
pub(crate) struct RequestBody(Option<Box<Kind>>);

enum Kind {
    Full(Full<Bytes>),
    Stream(Stream),
}

/// A body that hyper polls while it sends the request.
struct Stream {
    body: Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>,
    sent: BodySent,
}

/// Shows whether hyper has finished sending the body of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct BodySent(Arc<AtomicBool>);

impl RequestBody {
    pub(crate) fn new<B>(body: B) -> Self
    where
        B: Body + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::default();
        }
        let mut body = Some(body);
        let full = (&mut body as &mut dyn Any).downcast_mut::<Option<Full<Bytes>>>().and_then(Option::take);
        let kind = match (full, body) {
            (None, Some(body)) => {
                Kind::Stream(Stream { body: Box::pin(Erased(body)), sent: BodySent::default() })
            }
            (full, _) => Kind::Full(full.unwrap_or_default()),
        };
        Self(Some(Box::new(kind)))
    }

    /// Returns the progress of sending the body. `None` if the body is complete in memory.
    pub(super) fn sent(&self) -> Option<BodySent> {
        match self.0.as_deref()? {
            Kind::Full(_) => None,
            Kind::Stream(stream) => Some(stream.sent.clone()),
        }
    }
}

impl BodySent {
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
        match self.0.as_deref_mut() {
            None => Poll::Ready(None),
            Some(Kind::Full(full)) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Some(Kind::Stream(stream)) => stream.body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.0.as_deref() {
            None => true,
            Some(Kind::Full(full)) => full.is_end_stream(),
            Some(Kind::Stream(stream)) => stream.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.as_deref() {
            None => SizeHint::with_exact(0),
            Some(Kind::Full(full)) => full.size_hint(),
            Some(Kind::Stream(stream)) => stream.body.size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

/// A body with data of type [`Bytes`] and a boxed error. Unlike the combinators of http-body-util it preserves the size
/// hint.
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
        // Data that already is `Bytes` is not copied.
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

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    #[test]
    fn an_empty_body_does_not_allocate_and_every_body_is_a_pointer() {
        let empty = allocation_counter::measure(|| drop(RequestBody::new(Empty::<Bytes>::new())));
        let body = Full::<Bytes>::from("hello");
        let full = allocation_counter::measure(|| drop(RequestBody::new(body)));
        assert_eq!((empty.count_total, full.count_total), (0, 1));
        assert_eq!(size_of::<RequestBody>(), size_of::<usize>());
    }
}
