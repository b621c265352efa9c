//! The body of a response.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};

use super::{
    body::Sent,
    connection::{Http1, Http2, failed},
    lease::Lease,
};
use crate::error::{Error, ErrorKind};

/// The body of a response, as it comes in. Its connection serves other requests when the body has been read to its end.
///
/// Dropping it before its end closes a connection of HTTP/1.1, and ends the stream of HTTP/2.
pub struct ResponseBody(Kind);

enum Kind {
    /// Made in this process.
    Local(Full<Bytes>),
    Received(Incoming, AnyLease),
}

/// What a body holds until it ends.
pub(super) enum AnyLease {
    /// With what of the request may still be on its way.
    Http1(Lease<Http1>, Option<Sent>),
    Http2(Lease<Http2>),
    /// The body has ended.
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
            // The connection is still busy with the request's body: as a proxy, do not wait for it.
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
            Self::Released => {
                Error::with_source(ErrorKind::Exchange, "the response failed after its end", error)
            }
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
