//! The HTTP proxy: `CONNECT` for tunnels, absolute-form requests for `http://` URLs (RFC 9110 §9.3.6, RFC 9112 §3.2.2).

mod destination;
mod headers;

use std::{
    convert::Infallible,
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, HOST, PROXY_AUTHENTICATE},
};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
    upgrade::{OnUpgrade, Parts},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};

#[cfg(any(fuzzing, test))]
pub(super) use self::{
    destination::{Destination, tunnel_target},
    headers::{HOP_BY_HOP, authenticated, remove_hop_by_hop},
};
#[cfg(not(any(fuzzing, test)))]
use self::{
    destination::{Destination, tunnel_target},
    headers::{authenticated, remove_hop_by_hop},
};
use super::{BridgeState, admission::Admission, own_listeners, tunnel, warnings::Reason};
use crate::{
    error::{Error, ErrorKind},
    http::ResponseBody,
    stream::MeshStream,
    target::Target,
};

type Answer = Response<ResponseBody>;

/// The header of responses from the proxy itself that contains the kind of the error (`ErrorKind::as_label`).
const ERROR_KIND: &str = "x-sidestep-error";

/// The value of [`ERROR_KIND`] if the target is the bridge itself.
const LOOP: &str = "loop_detected";

/// Serves a client that does not speak SOCKS5. The client is treated as an HTTP/1.1 client, and receives an error
/// response if it speaks another protocol.
pub(super) async fn serve(client: TcpStream, admission: Admission, state: &BridgeState) {
    let guest_until = admission.guest_until();
    let session = Session {
        state,
        admission: tokio::sync::Mutex::new(admission),
        is_authenticated: AtomicBool::new(false),
        tunnel: Mutex::default(),
    };
    let service = service_fn(|request| async { Ok::<_, Infallible>(session.answer(request).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(state.settings.handshake_timeout)
        .half_close(true)
        .serve_connection(TokioIo::new(client), service)
        .with_upgrades();
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%error, "the connection of a client of the bridge's HTTP proxy failed");
            }
        }
        () = session.is_too_late(guest_until) => return,
    }
    let tunnel = session.tunnel.lock().take();
    if let Some(tunnel) = tunnel {
        tunnel.serve(state).await;
    }
}

/// The connection of one client.
struct Session<'a> {
    state: &'a BridgeState,
    admission: tokio::sync::Mutex<Admission>,
    /// Whether a request of this connection contained the secret of the bridge.
    is_authenticated: AtomicBool,
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
            return self.reject().await;
        }
        let outcome = match *request.method() {
            Method::CONNECT => self.connect(&mut request).await,
            _ => self.forward(request).await,
        };
        outcome.unwrap_or_else(|error| {
            self.state.warnings.cannot_serve_request(&error);
            failed(&error)
        })
    }

    async fn may_pass(&self, request: &Request<Incoming>) -> bool {
        let mut admission = self.admission.lock().await;
        if authenticated(request.headers(), &self.state.secret) {
            self.is_authenticated.store(true, Ordering::Release);
            admission.authenticated(&self.state.slots).await;
            return true;
        }
        !admission.needs_secret()
    }

    /// Returns the response to a client that sent no valid password. The connection is closed after it, because only
    /// few connections are available to clients that have not authenticated.
    async fn reject(&self) -> Answer {
        self.state.warnings.rejected(Reason::AnotherProcess, self.admission.lock().await.client());
        let mut answer = text_response(
            StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            "this proxy belongs to another process: authenticate with its user and password",
        );
        let challenge = HeaderValue::from_static("Basic realm=\"sidestep\"");
        answer.headers_mut().insert(PROXY_AUTHENTICATE, challenge);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }

    /// Waits until the time limit for authentication has passed. Never returns if the client has authenticated or does
    /// not have to.
    async fn is_too_late(&self, guest_until: Option<Instant>) {
        let Some(until) = guest_until else {
            return pending().await;
        };
        sleep_until(until).await;
        if self.is_authenticated.load(Ordering::Acquire) {
            pending().await
        }
    }

    async fn connect(&self, request: &mut Request<Incoming>) -> Result<Answer, Error> {
        let target = tunnel_target(request.uri())?;
        let stream = match tunnel::detects_protocol(self.state, &target).await? {
            true => None,
            false => Some(tunnel::connect(self.state, &target).await?),
        };
        let upgrade = hyper::upgrade::on(request);
        let tunnel = Tunnel { upgrade, target, stream };
        *self.tunnel.lock() = Some(tunnel);
        Ok(Response::new(ResponseBody::default()))
    }

    async fn forward(&self, request: Request<Incoming>) -> Result<Answer, Error> {
        let (parts, body) = request.into_parts();
        let destination = Destination::new(parts.uri)?;
        self.state.own_listeners.refuse(&self.state.mesh, &destination.target).await?;
        let mut headers = parts.headers;
        remove_hop_by_hop(&mut headers);
        headers.insert(HOST, destination.host);
        let mut onward = Request::new(body);
        *onward.method_mut() = parts.method;
        *onward.uri_mut() = destination.uri;
        *onward.headers_mut() = headers;
        let (parts, body) = self.state.http.request(onward).await?.into_parts();
        let mut answer = Response::new(body);
        (*answer.status_mut(), *answer.version_mut()) = (parts.status, Version::HTTP_11);
        *answer.headers_mut() = parts.headers;
        remove_hop_by_hop(answer.headers_mut());
        // A service must not send this header: it marks errors of the proxy itself.
        answer.headers_mut().remove(ERROR_KIND);
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
            Err(error) => tunnel::failed(&client, state, &self.target, &error),
        }
    }
}

fn failed(error: &Error) -> Answer {
    let is_loop = own_listeners::is_loop(error);
    let status = match error.kind() {
        _ if is_loop => StatusCode::LOOP_DETECTED,
        ErrorKind::InvalidTarget => StatusCode::BAD_REQUEST,
        ErrorKind::PlaintextRefused => StatusCode::FORBIDDEN,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let kind = if is_loop { LOOP } else { error.kind().as_label() };
    let mut answer = text_response(status, error.report());
    answer.headers_mut().insert(ERROR_KIND, HeaderValue::from_static(kind));
    answer
}

fn text_response(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(ResponseBody::from(Bytes::from(text.into() + "\n")));
    *answer.status_mut() = status;
    answer
}
