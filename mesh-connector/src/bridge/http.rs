//! The HTTP proxy: `CONNECT` for tunnels, absolute-form requests for `http://` URLs (RFC 9110 §9.3.6, RFC 9112 §3.2.2).

mod headers;

use std::convert::Infallible;

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{HOST, PROXY_AUTHENTICATE},
    uri::Scheme,
};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Parts},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::OnceCell};

use self::headers::{authenticated, remove_hop_by_hop};
use super::{Shared, access::Accepted, services, tunnel};
use crate::{
    error::{Error, ErrorKind},
    http::ResponseBody,
    stream::MeshStream,
    target::Target,
};

type Answer = Response<ResponseBody>;

/// Where the kind of an error stands in the proxy's own answers.
const ERROR_KIND: &str = "x-sidestep-error";

/// Serves a client that does not speak SOCKS5: it is taken for one of HTTP/1.1, and told if it is not.
pub(super) async fn serve(client: TcpStream, shared: &Shared) {
    let Ok(accepted) = Accepted::of(&client) else {
        return;
    };
    let session = Session { shared, accepted, admitted: OnceCell::new(), tunnel: Mutex::default() };
    let service = service_fn(|request| async { Ok::<_, Infallible>(session.answer(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.settings.handshake_timeout)
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a client of the bridge's HTTP proxy broke off, or does not speak HTTP");
    }
    let tunnel = session.tunnel.lock().take();
    if let Some(tunnel) = tunnel {
        tunnel.serve(shared).await;
    }
}

/// One client's connection.
struct Session<'a> {
    shared: &'a Shared,
    accepted: Accepted,
    admitted: OnceCell<bool>,
    tunnel: Mutex<Option<Tunnel>>,
}

/// What follows the answer to `CONNECT`.
struct Tunnel {
    upgrade: OnUpgrade,
    target: Target,
    /// `None`: the client's first bytes decide how to connect.
    stream: Option<MeshStream>,
}

impl Session<'_> {
    async fn answer(&self, mut request: Request<Incoming>) -> Answer {
        if !self.may_pass(&request).await {
            tracing::warn!("the bridge refused a client of another process, without its password");
            let mut answer =
                told(StatusCode::PROXY_AUTHENTICATION_REQUIRED, "the proxy of another process: authenticate");
            let challenge = HeaderValue::from_static("Basic realm=\"sidestep\"");
            answer.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
            return answer;
        }
        let outcome = match *request.method() {
            Method::CONNECT => self.connect(&mut request).await,
            _ => self.forward(request).await,
        };
        outcome.unwrap_or_else(|error| {
            tracing::warn!(error = error.report(), "the bridge cannot serve a client");
            failed(&error)
        })
    }

    async fn may_pass(&self, request: &Request<Incoming>) -> bool {
        let gate = &self.shared.gate;
        authenticated(request.headers(), &self.shared.secret)
            || *self.admitted.get_or_init(|| gate.admits_tcp(&self.accepted)).await
    }

    async fn connect(&self, request: &mut Request<Incoming>) -> Result<Answer, Error> {
        let mesh = &self.shared.mesh;
        let authority = request.uri().authority().map_or("", |authority| authority.as_str());
        let target: Target = authority.parse()?;
        let stream = match services::detects_protocol(mesh, &target).await? {
            true => None,
            false => Some(mesh.connect_to(&target).await?),
        };
        let upgrade = hyper::upgrade::on(request);
        let tunnel = Tunnel { upgrade, target, stream };
        *self.tunnel.lock() = Some(tunnel);
        Ok(Response::new(ResponseBody::default()))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Answer, Error> {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        headers.insert(HOST, host(&parts.uri)?);
        remove_hop_by_hop(&mut headers);
        let mut onward = Request::new(body);
        *onward.method_mut() = parts.method;
        *onward.uri_mut() = parts.uri;
        *onward.headers_mut() = headers;
        let (parts, body) = self.shared.http.request(onward).await?.into_parts();
        let mut answer = Response::new(body);
        (*answer.status_mut(), *answer.version_mut()) = (parts.status, Version::HTTP_11);
        *answer.headers_mut() = parts.headers;
        remove_hop_by_hop(answer.headers_mut());
        Ok(answer)
    }
}

impl Tunnel {
    async fn serve(self, shared: &Shared) {
        let Ok(upgraded) = self.upgrade.await else {
            return;
        };
        let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return;
        };
        let (mut client, mut read) = (io.into_inner(), read_buf.to_vec());
        let stream = match self.stream {
            Some(stream) => Ok(stream),
            None => tunnel::detected(&mut client, shared, &self.target, &mut read).await,
        };
        match stream {
            Ok(stream) => tunnel::pass_on(client, stream, &read).await,
            Err(error) => tunnel::failed(&client, &self.target, &error),
        }
    }
}

/// The `Host` of a forwarded request is that of its URL (RFC 9112 §3.2.2).
fn host(uri: &Uri) -> Result<HeaderValue, Error> {
    let refused = |message: &str| Error::new(ErrorKind::InvalidTarget, message);
    let authority = match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP => authority,
        (Some(_), _) => {
            return Err(refused("this proxy forwards http:// URLs, and tunnels others by CONNECT"));
        }
        (None, _) => return Err(refused("this is a proxy: ask for whole URLs, http://HOST:PORT/PATH")),
    };
    let without_user = authority.as_str().rsplit('@').next().unwrap_or_default();
    HeaderValue::from_str(without_user).map_err(|_| refused("the URL has no host"))
}

fn failed(error: &Error) -> Answer {
    let status = match error.kind() {
        ErrorKind::InvalidTarget => StatusCode::BAD_REQUEST,
        ErrorKind::PlaintextRefused => StatusCode::FORBIDDEN,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let mut answer = told(status, error.report());
    answer.headers_mut().insert(ERROR_KIND, HeaderValue::from_static(error.kind().as_label()));
    answer
}

fn told(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(ResponseBody::from(Bytes::from(text.into() + "\n")));
    *answer.status_mut() = status;
    answer
}
