//! Serves HTTP/1.1 and HTTP/2. If ALPN selects no protocol, the connection preface decides the version. A request is
//! answered with JSON that describes server and client; some paths return other bodies, and gRPC calls are answered as
//! gRPC.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use super::caller::Caller;
use crate::tasks::Executor;

/// The maximum length of a request body.
const LONGEST: usize = 16 * 1024 * 1024;
/// The gRPC frame of `grpc.health.v1.HealthCheckResponse { status: SERVING }`.
const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 8, 1];

type Body = BoxBody<Bytes, Infallible>;

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
    // A broken connection needs no handling.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// Returns whether `bytes` is the start of an HTTP request.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] =
        [b"CONNECT ", b"DELETE ", b"GET ", b"HEAD ", b"OPTIONS ", b"PATCH ", b"POST ", b"PRI *", b"PUT "];
    METHODS.iter().any(|method| bytes.starts_with(method))
}

async fn answer(caller: &Caller, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let is_grpc =
        parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let Ok(body) = Limited::new(body, LONGEST).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "the body exceeds 16 MiB\n");
    };
    let body = body.to_bytes();
    if is_grpc {
        return grpc(&path, body);
    }
    match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
        Some(("bytes", count)) => match count.parse() {
            Ok(count) if count <= LONGEST => plain(StatusCode::OK, vec![b'x'; count]),
            _ => plain(StatusCode::BAD_REQUEST, "expected /bytes/NUMBER\n"),
        },
        Some(("status", code)) => {
            let code = code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
            plain(code.unwrap_or(StatusCode::BAD_REQUEST), "")
        }
        _ if path == "/echo" => plain(StatusCode::OK, body),
        _ => describe(caller, &parts, body.len()),
    }
}

/// Returns JSON that describes server, client and request.
fn describe(caller: &Caller, parts: &http::request::Parts, body_length: usize) -> Response<Body> {
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| parts.uri.authority().map(Authority::as_str));
    let json = json!({
        "alpn": caller.alpn,
        "body_length": body_length,
        "client": caller.client,
        "cluster": &*caller.cluster,
        "host": host,
        "method": parts.method.as_str(),
        "namespace": &*caller.namespace,
        "path": parts.uri.path_and_query().map_or("/", PathAndQuery::as_str),
        "pod": &*caller.workload,
        "port": caller.port,
        "protocol": format!("{:?}", parts.version),
        "sni": caller.sni,
        "spiffe": caller.identity.as_deref(),
        "tls": caller.tls,
    });
    let mut response = plain(StatusCode::OK, format!("{json}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = status;
    response
}

/// Answers a gRPC health check with SERVING. The response to any other gRPC method contains the messages of the
/// request.
fn grpc(path: &str, body: Bytes) -> Response<Body> {
    let body = if path == "/grpc.health.v1.Health/Check" { Bytes::from_static(&SERVING) } else { body };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
