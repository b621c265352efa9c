//! The listener of one endpoint: filter chain, TLS, application.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::ProtocolVersion;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::application;
use super::caller::Caller;
use super::chain::{self, Chain};
use super::{Identities, Presented, peer_exchange};
use crate::events::{Event, Events, WorkloadEvent, WorkloadOutcome};
use crate::hello::{self, Hello, Opening, Replay};
use crate::listen;
use crate::model::Protocol;
use crate::pki::spiffe;
use crate::tasks::TaskGroup;
use crate::yaml::istio::MutualTlsMode;

/// The timeout of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// The configuration of an endpoint. A change of the mesh replaces the configuration for new connections.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) workload: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) cluster: Arc<str>,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// The address of an application that replaces the built-in application; `None` for the built-in application.
    pub(crate) application: Option<SocketAddr>,
    pub(crate) mode: MutualTlsMode,
    /// The identity that the sidecar presents; `None` without a sidecar.
    pub(crate) presented: Option<Presented>,
}

/// An endpoint, and the state for serving its connections.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) role: RwLock<Arc<Role>>,
    pub(crate) identities: Arc<Identities>,
    pub(crate) events: Events,
}

/// Accepts and serves connections, until the future is dropped.
pub(crate) async fn serve(workload: Arc<Workload>, listener: TcpListener, connections: Arc<TaskGroup>) {
    let connection = |stream, _| {
        let workload = workload.clone();
        async move { workload.connection(stream).await }
    };
    listen::serve(listener, &connections, connection).await;
}

impl Workload {
    async fn connection(&self, mut stream: TcpStream) {
        let role = self.role.read().clone();
        let Some(presented) = role.presented.clone() else {
            return role.serve(role.protocol, role.caller(), stream).await;
        };
        let mut bytes = Vec::new();
        let Ok(opening) = hello::read(&mut stream, &mut bytes).await else { return };
        let hello = match opening {
            Opening::Tls(hello) => Some(hello),
            Opening::Other => None,
            Opening::Closed => return,
        };
        let stream = Replay::new(bytes, stream);
        match chain::choose(role.mode, role.protocol, hello.as_ref()) {
            Chain::None => self.record(&role, None, None, WorkloadOutcome::NoFilterChain),
            Chain::Raw => {
                let outcome =
                    if hello.is_some() { WorkloadOutcome::PassedThrough } else { WorkloadOutcome::Plaintext };
                self.record(&role, None, None, outcome);
                role.serve(role.protocol, role.caller(), stream).await;
            }
            chain => self.mutual_tls(&role, &presented, chain, &hello.unwrap_or_default(), stream).await,
        }
    }

    async fn mutual_tls(
        &self,
        role: &Role,
        presented: &Presented,
        chain: Chain,
        hello: &Hello,
        stream: Replay<TcpStream>,
    ) {
        let alpn = chain::alpn(chain, &hello.alpn);
        let failed = |reason: String| {
            self.record(role, None, None, WorkloadOutcome::HandshakeFailed { reason });
        };
        let config = match self.identities.config(presented, alpn) {
            Ok(config) => config,
            Err(error) => return failed(error.to_string()),
        };
        let mut stream = match timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return failed(error.to_string()),
            Err(_) => return failed("the TLS handshake took too long".to_owned()),
        };
        let client = client(&stream);
        let alpn = alpn.map(str::to_owned);
        self.record(role, client.clone(), alpn.clone(), WorkloadOutcome::MutualTls);
        if alpn.as_deref() == Some("istio-peer-exchange")
            && stream.write_all(&peer_exchange::PREAMBLE).await.is_err()
        {
            return;
        }
        let protocol = match (role.protocol, chain) {
            (Protocol::Unsupported, Chain::MutualTlsHttp) => Protocol::Http,
            (protocol, _) => protocol,
        };
        let caller = Caller {
            identity: Some(presented.identity.as_str().into()),
            client,
            alpn,
            sni: hello.sni.clone(),
            tls: version(&stream),
            ..role.caller()
        };
        role.serve(protocol, caller, stream).await;
    }

    fn record(&self, role: &Role, client: Option<String>, alpn: Option<String>, outcome: WorkloadOutcome) {
        self.events.record(Event::Workload(WorkloadEvent {
            workload: role.workload.to_string(),
            cluster: role.cluster.to_string(),
            client,
            alpn,
            outcome,
        }));
    }
}

impl Role {
    /// Passes an accepted connection to the application.
    async fn serve<S>(&self, protocol: Protocol, caller: Caller, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match self.application {
            Some(address) => application::hand_over(address, stream).await,
            None => application::run(protocol, caller, stream).await,
        }
    }

    /// Returns the client and the server of a plaintext connection. The client has no identity.
    fn caller(&self) -> Caller {
        Caller {
            workload: self.workload.clone(),
            namespace: self.namespace.clone(),
            cluster: self.cluster.clone(),
            port: self.port,
            identity: None,
            client: None,
            alpn: None,
            sni: None,
            tls: None,
        }
    }
}

fn version<S: AsyncRead + AsyncWrite + Unpin>(stream: &TlsStream<S>) -> Option<&'static str> {
    match stream.get_ref().1.protocol_version()? {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// Returns the SPIFFE ID in the certificate of the client, or `None` if the client has none.
fn client<S: AsyncRead + AsyncWrite + Unpin>(stream: &TlsStream<S>) -> Option<String> {
    let certificate: &CertificateDer<'_> = stream.get_ref().1.peer_certificates()?.first()?;
    spiffe::uris(certificate).into_iter().next()
}
