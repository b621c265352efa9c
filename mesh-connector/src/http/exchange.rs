//! Sends a request over a pooled connection and returns the response.

use std::pin::Pin;

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::TrySendError};

use super::{
    body::RequestBody,
    connection::{Connection, Http1, Http2, failed},
    head,
    lease::Lease,
    response::{AnyLease, ResponseBody},
};
use crate::error::Error;

/// A connection for one request.
pub(crate) struct Leased(pub(super) Kind);

pub(super) enum Kind {
    Http1(Lease<Http1>),
    Http2(Lease<Http2>),
}

/// The source of the connections for one request.
pub(crate) trait Source: Send + Sync {
    /// Returns a connection.
    fn lease(&self) -> Leasing<'_>;
}

/// A connection for one request, either available now or obtained by a future. The future is boxed, so that requests on
/// existing connections have small futures.
pub(crate) enum Leasing<'a> {
    Ready(Leased),
    Waiting(Pin<Box<dyn Future<Output = Result<Leased, Error>> + Send + 'a>>),
}

impl<'a> Leasing<'a> {
    pub(crate) fn new(waiting: impl Future<Output = Result<Leased, Error>> + Send + 'a) -> Self {
        Self::Waiting(Box::pin(waiting))
    }
}

/// Sends a request over a connection of `source`. If a pooled connection has ended before any part of the request was
/// sent, uses another connection.
///
/// # Cancel safety
///
/// Dropping the future cancels the request.
#[expect(clippy::manual_async_fn, reason = "an `async fn` copies its arguments once more")]
pub(crate) fn exchange(
    mut request: Request<RequestBody>,
    source: impl Source,
) -> impl Future<Output = Result<Response<ResponseBody>, Error>> + Send {
    // A single future handles the whole exchange, because each nested future would copy requests and responses.
    async move {
        loop {
            let leased = match source.lease() {
                Leasing::Ready(leased) => leased,
                Leasing::Waiting(leased) => leased.await?,
            };
            match leased.0 {
                Kind::Http1(mut lease) => {
                    if !lease.ready().await {
                        continue;
                    }
                    head::to_http1(&mut request);
                    let sent = request.body().sent();
                    match lease.sender().send(request).await {
                        Ok(response) => {
                            return Ok(answered(response, lease, |lease| AnyLease::Http1(lease, sent)));
                        }
                        Err(error) => request = unsent(error, &lease)?,
                    }
                }
                Kind::Http2(mut lease) => {
                    if !lease.ready().await {
                        continue;
                    }
                    match lease.sender().send(request).await {
                        Ok(response) => return Ok(answered(response, lease, AnyLease::Http2)),
                        Err(error) => request = unsent(error, &lease)?,
                    }
                }
            }
        }
    }
}

/// Returns the response for the caller.
fn answered<S: Connection>(
    mut response: Response<Incoming>,
    lease: Lease<S>,
    held: impl FnOnce(Lease<S>) -> AnyLease,
) -> Response<ResponseBody> {
    lease.info().report_status(response.status().as_u16());
    response.extensions_mut().insert(lease.info().clone());
    response.map(|body| ResponseBody::received(body, held(lease)))
}

/// Returns the request if it can be sent on another connection, because a pooled connection ended before any part of it
/// was sent.
fn unsent<S: Connection>(
    mut error: TrySendError<Request<RequestBody>>,
    lease: &Lease<S>,
) -> Result<Request<RequestBody>, Error> {
    match error.take_message() {
        Some(unsent) if !lease.is_new() => Ok(unsent),
        _ => Err(failed(lease.info(), "the request to", error.into_error())),
    }
}
