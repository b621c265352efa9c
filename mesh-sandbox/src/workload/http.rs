//! HTTP/1.1 and HTTP/2, by the connection preface where no ALPN says it: each request is answered with JSON that
//! says who answered and who asked.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use super::application::Caller;
use crate::tasks::Executor;

/// Bodies are read up to here and echoed by their length alone.
const LONGEST: usize = 16 * 1024 * 1024;

pub(crate) async fn run<S>(caller: Caller, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let caller = caller.clone();
        async move { Ok::<_, Infallible>(answer(&caller, request).await) }
    });
    let mut builder = Builder::new(Executor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    // A connection that breaks is the client's business.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Whether bytes begin an HTTP request.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] =
        [b"CONNECT ", b"DELETE ", b"GET ", b"HEAD ", b"OPTIONS ", b"PATCH ", b"POST ", b"PRI *", b"PUT "];
    METHODS.iter().any(|method| bytes.starts_with(method))
}

async fn answer(caller: &Caller, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = http_body_util::Limited::new(body, LONGEST).collect().await;
    let length = body.map_or(0, |body| body.to_bytes().len());
    let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
    let json = json!({
        "alpn": caller.alpn,
        "body_length": length,
        "client": caller.client,
        "cluster": &*caller.cluster,
        "host": host,
        "method": parts.method.as_str(),
        "namespace": &*caller.namespace,
        "path": parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
        "pod": &*caller.workload,
        "port": caller.port,
        "protocol": format!("{:?}", parts.version),
    });
    let mut response = Response::new(Full::from(format!("{json}\n")));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}
