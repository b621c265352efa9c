//! Sends a request over a pooled connection and returns the response.

use http::{Request, Response};

use super::{
    body::RequestBody,
    connection::{Answer, Connection, Http1, Http2, failed},
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

/// Sends a request over the connection that `lease` returns. If a pooled connection has ended before any part of the
/// request was sent, asks `lease` for another one.
///
/// # Cancel safety
///
/// Dropping the future cancels the request.
pub(crate) async fn exchange<L>(
    mut request: Request<RequestBody>,
    lease: impl Fn() -> L,
) -> Result<Response<ResponseBody>, Error>
where
    L: Future<Output = Result<Leased, Error>>,
{
    // A single future handles the whole exchange, because each nested future would copy requests and responses.
    loop {
        let answer = match lease().await?.0 {
            Kind::Http1(mut lease) => {
                head::to_http1(&mut request);
                let sent = request.body().sent();
                let answer = lease.sender().send(request).await;
                answered(lease, answer, |lease| AnyLease::Http1(lease, sent))
            }
            Kind::Http2(mut lease) => {
                let answer = lease.sender().send(request).await;
                answered(lease, answer, AnyLease::Http2)
            }
        };
        match answer? {
            Ok(response) => return Ok(response),
            Err(unsent) => request = unsent,
        }
    }
}

/// Returns the response for the caller, or the request if another connection can serve it.
fn answered<S: Connection>(
    lease: Lease<S>,
    answer: Answer,
    held: impl FnOnce(Lease<S>) -> AnyLease,
) -> Result<Result<Response<ResponseBody>, Request<RequestBody>>, Error> {
    match answer {
        Ok(mut response) => {
            lease.info().report_status(response.status().as_u16());
            response.extensions_mut().insert(lease.info().clone());
            Ok(Ok(response.map(|body| ResponseBody::received(body, held(lease)))))
        }
        Err(mut error) => match error.take_message() {
            // A pooled connection has ended before any part of the request was sent. Another connection can serve it.
            Some(unsent) if !lease.is_new() => Ok(Err(unsent)),
            _ => Err(failed(lease.info(), "the request to", error.into_error())),
        },
    }
}
