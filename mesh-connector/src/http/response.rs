//! Response bodies.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};

use super::{
    body::BodySent,
    connection::{Http1, Http2, failed},
    lease::Lease,
};
use crate::error::{Error, ErrorKind};

/// The body of a response, as a stream. Its connection serves other requests after the body has been read to the end.
///
/// Dropping the body earlier closes an HTTP/1.1 connection, and ends the stream of an HTTP/2 connection.
pub struct ResponseBody(Kind);

enum Kind {
    /// A body that was created in this process.
    Local(Full<Bytes>),
    Received(Incoming, AnyLease),
}

/// The connection of a body, until the body has ended.
pub(super) enum AnyLease {
    /// An HTTP/1.1 connection, with the progress of sending the request body (`None` if it was complete in memory).
    Http1(Lease<Http1>, Option<BodySent>),
    Http2(Lease<Http2>),
    /// The body has ended, and no longer uses the connection.
    Released,
}

impl ResponseBody {
    pub(super) fn received(body: Incoming, lease: AnyLease) -> Self {
        match body.is_end_stream() {
            true => {
                lease.complete();
                Self::default()
            }
            false => Self(Kind::Received(body, lease)),
        }
    }
}

impl AnyLease {
    fn complete(self) {
        match self {
            // The connection still sends the request body. Like a proxy, close the connection instead of waiting.
            Self::Http1(_, Some(sent)) if !sent.is_complete() => {}
            Self::Http1(lease, _) => lease.complete(),
            Self::Http2(lease) => lease.complete(),
            Self::Released => {}
        }
    }

    fn failed(self, error: hyper::Error) -> Error {
        let what = "the response of";
        match self {
            Self::Http1(lease, _) => failed(lease.info(), what, error),
            Self::Http2(lease) => failed(lease.info(), what, error),
            Self::Released => Error::with_source(
                ErrorKind::Exchange,
                "the connection failed after the end of the response",
                error,
            ),
        }
    }
}

impl Default for ResponseBody {
    fn default() -> Self {
        Self(Kind::Local(Full::default()))
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self(Kind::Local(Full::new(bytes)))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let (body, lease) = match &mut self.0 {
            Kind::Local(full) => return Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Kind::Received(body, lease) => (body, lease),
        };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        let mut release = || mem::replace(lease, AnyLease::Released);
        Poll::Ready(match frame {
            Some(Err(error)) => Some(Err(release().failed(error))),
            Some(Ok(frame)) => {
                if body.is_end_stream() {
                    release().complete();
                }
                Some(Ok(frame))
            }
            None => {
                release().complete();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Local(full) => full.is_end_stream(),
            Kind::Received(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Local(full) => full.size_hint(),
            Kind::Received(body, _) => body.size_hint(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}
