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
use super::{BridgeState, access::AcceptedConnection, services, tunnel};
use crate::{
    error::{Error, ErrorKind},
    http::ResponseBody,
    stream::MeshStream,
    target::Target,
};

type Answer = Response<ResponseBody>;

/// The header of responses from the proxy itself that contains the kind of the error (`ErrorKind::as_label`).
const ERROR_KIND: &str = "x-sidestep-error";

/// Serves a client that does not speak SOCKS5. The client is treated as an HTTP/1.1 client, and receives an error
/// response if it speaks another protocol.
pub(super) async fn serve(client: TcpStream, state: &BridgeState) {
    let Ok(accepted) = AcceptedConnection::of(&client) else {
        return;
    };
    let session = Session { state, accepted, is_allowed: OnceCell::new(), tunnel: Mutex::default() };
    let service = service_fn(|request| async { Ok::<_, Infallible>(session.answer(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.settings.handshake_timeout)
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "the connection of a client of the bridge's HTTP proxy failed");
    }
    let tunnel = session.tunnel.lock().take();
    if let Some(tunnel) = tunnel {
        tunnel.serve(state).await;
    }
}

/// The connection of one client.
struct Session<'a> {
    state: &'a BridgeState,
    accepted: AcceptedConnection,
    is_allowed: OnceCell<bool>,
    tunnel: Mutex<Option<Tunnel>>,
}

/// The tunnel that follows the response to `CONNECT`.
struct Tunnel {
    upgrade: OnUpgrade,
    target: Target,
    /// The stream to the service. `None` if the bridge connects only after the first bytes of the client, because they
    /// determine the protocol of the stream.
    stream: Option<MeshStream>,
}

impl Session<'_> {
    async fn answer(&self, mut request: Request<Incoming>) -> Answer {
        if !self.may_pass(&request).await {
            tracing::warn!(
                "the bridge rejected an HTTP proxy client: it belongs to another process and sent no valid password"
            );
            let mut answer = text_response(
                StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                "this proxy belongs to another process: authenticate with its user and password",
            );
            let challenge = HeaderValue::from_static("Basic realm=\"sidestep\"");
            answer.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
            return answer;
        }
        let outcome = match *request.method() {
            Method::CONNECT => self.connect(&mut request).await,
            _ => self.forward(request).await,
        };
        outcome.unwrap_or_else(|error| {
            tracing::warn!(error = error.report(), "the bridge cannot serve an HTTP request");
            failed(&error)
        })
    }

    async fn may_pass(&self, request: &Request<Incoming>) -> bool {
        let access_control = &self.state.access_control;
        authenticated(request.headers(), &self.state.secret)
            || *self.is_allowed.get_or_init(|| access_control.allows_tcp(&self.accepted)).await
    }

    async fn connect(&self, request: &mut Request<Incoming>) -> Result<Answer, Error> {
        let mesh = &self.state.mesh;
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
        let (parts, body) = self.state.http.request(onward).await?.into_parts();
        let mut answer = Response::new(body);
        (*answer.status_mut(), *answer.version_mut()) = (parts.status, Version::HTTP_11);
        *answer.headers_mut() = parts.headers;
        remove_hop_by_hop(answer.headers_mut());
        Ok(answer)
    }
}

impl Tunnel {
    async fn serve(self, state: &BridgeState) {
        let Ok(upgraded) = self.upgrade.await else {
            return;
        };
        let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return;
        };
        let (mut client, mut read) = (io.into_inner(), read_buf.to_vec());
        let stream = match self.stream {
            Some(stream) => Ok(stream),
            None => tunnel::detected(&mut client, state, &self.target, &mut read).await,
        };
        match stream {
            Ok(stream) => tunnel::pass_on(client, stream, &read).await,
            Err(error) => tunnel::failed(&client, &self.target, &error),
        }
    }
}

/// Returns the `Host` header of a forwarded request, which is the host of its URL (RFC 9112 §3.2.2).
fn host(uri: &Uri) -> Result<HeaderValue, Error> {
    let refused = |message: &str| Error::new(ErrorKind::InvalidTarget, message);
    let authority = match (uri.scheme(), uri.authority()) {
        (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP => authority,
        (Some(_), _) => {
            return Err(refused("this proxy forwards only http:// URLs: use CONNECT for others"));
        }
        (None, _) => {
            return Err(refused("this is a proxy: requests need an absolute URL, http://HOST:PORT/PATH"));
        }
    };
    let without_user = authority.as_str().rsplit('@').next().unwrap_or_default();
    HeaderValue::from_str(without_user)
        .map_err(|_| refused("the host of the URL contains invalid characters"))
}

fn failed(error: &Error) -> Answer {
    let status = match error.kind() {
        ErrorKind::InvalidTarget => StatusCode::BAD_REQUEST,
        ErrorKind::PlaintextRefused => StatusCode::FORBIDDEN,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let mut answer = text_response(status, error.report());
    answer.headers_mut().insert(ERROR_KIND, HeaderValue::from_static(error.kind().as_label()));
    answer
}

fn text_response(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(ResponseBody::from(Bytes::from(text.into() + "\n")));
    *answer.status_mut() = status;
    answer
}
