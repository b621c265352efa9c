//! One attempt: TCP, then TLS.

use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use nds_client::{
    Identity,
    resources::{cluster::ProxyProtocol, endpoint::Endpoint},
};
use rustls::{CertificateError, Error as TlsError, OtherError};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Choice, Dialer, Failed, proxy_protocol, socket as dial};
use crate::{
    connection::{ConnectionInfo, Details, TlsDetails, Transport},
    dns::UpstreamLookup,
    error::{Error, ErrorKind, IdentityMismatch},
    hosts::Held,
    socket::Socket,
    stream::{Io, MeshStream},
    tls::{self, ClientTls, TlsUse},
    transport::{self, Protection, Security},
};

/// What protects a connection, ready for use.
#[derive(Debug)]
pub(crate) struct Protected {
    /// The position of the transport socket that says so.
    pub(crate) socket: usize,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// `None` for plaintext.
    pub(crate) tls: Option<Arc<ClientTls>>,
}

/// A connection that came about.
pub(super) struct Opened {
    io: Io,
    peer_addr: SocketAddr,
    tls: Option<TlsDetails>,
}

impl<L: UpstreamLookup> Dialer<'_, L> {
    /// How to protect a connection to this endpoint.
    pub(super) fn protection(&self, endpoint: &Endpoint) -> Result<Protected, Failed> {
        let cluster = self.cluster();
        let Protection { socket, proxy_protocol, security } =
            transport::protection(cluster, endpoint, self.mtls).map_err(Failed::Refused)?;
        let protocol = self.target.protocol();
        let of = |identity, context| TlsUse { cluster, identity, socket, context, protocol };
        let tls = self.entry.tls();
        let tls = match security {
            Security::Plaintext => Ok(None),
            Security::Mutual(context) => tls.mutual(of(self.valid_identity()?, context)).map(Some),
            Security::Originated(context) => {
                tls.originated(of(self.known_identity()?, context), self.target.host()).map(Some)
            }
        };
        Ok(Protected { socket, proxy_protocol, tls: tls.map_err(Failed::Final)? })
    }

    fn known_identity(&self) -> Result<&Identity, Failed> {
        self.entry.identity().ok_or_else(|| {
            let message = "this workload has no certificate yet: look at the health of the membership";
            Failed::Final(Error::new(ErrorKind::Credentials, message))
        })
    }

    fn valid_identity(&self) -> Result<&Identity, Failed> {
        let identity = self.known_identity()?;
        if identity.remaining(SystemTime::now()).is_zero() {
            let id = identity.spiffe_id();
            let message = format!(
                "the certificate of `{id}` has expired and was not renewed: look at the health of the membership"
            );
            return Err(Failed::Final(Error::new(ErrorKind::Credentials, message)));
        }
        Ok(identity)
    }

    pub(super) async fn open(&self, endpoint: &Endpoint, protected: &Protected) -> Result<Opened, Error> {
        let mut tcp = self.tcp(endpoint).await?;
        let failed = |error| cannot_connect(endpoint, error);
        let peer_addr = tcp.peer_addr().map_err(failed)?;
        if let Some(version) = protected.proxy_protocol {
            let header = proxy_protocol::header(version, tcp.local_addr().map_err(failed)?, peer_addr);
            tcp.write_all(&header).await.map_err(failed)?;
        }
        let Some(tls) = &protected.tls else {
            return Ok(Opened { io: Io::Plaintext(tcp.into()), peer_addr, tls: None });
        };
        let connector = TlsConnector::from(tls.config.clone());
        let handshake = connector.connect(tls.server_name.clone(), Socket::from(tcp)).await;
        let stream = handshake.map_err(|error| handshake_failed(endpoint, error))?;
        let tls = Some(tls_details(tls, &stream));
        Ok(Opened { io: Io::Tls(Box::new(stream)), peer_addr, tls })
    }

    /// The stream that the caller gets.
    pub(super) fn stream(&self, opened: Opened, choice: &Choice, held: Held) -> MeshStream {
        let Opened { io, peer_addr, tls } = opened;
        let endpoint = self.hosts.endpoint(choice.index);
        let held = Arc::new(held);
        let workload_cluster = Some(&endpoint.workload.cluster).filter(|cluster| !cluster.is_empty());
        let named = (endpoint.workload.name.clone(), endpoint.workload.namespace.clone());
        let details = Details {
            key: choice.key,
            host: self.target.host().to_string(),
            port: self.target.port(),
            service: Some(self.cluster().name.host.clone()),
            cluster: Some(self.cluster().name.to_string()),
            endpoint: held.address().to_owned(),
            peer_addr,
            gateway: endpoint.is_gateway(),
            workload_cluster: workload_cluster.cloned(),
            workload: (!named.0.is_empty()).then_some(named),
            tls,
            held: Arc::downgrade(&held),
        };
        MeshStream::new(io, ConnectionInfo(Arc::new(details)), Some(held))
    }

    async fn tcp(&self, endpoint: &Endpoint) -> Result<TcpStream, Error> {
        let ips = match endpoint.host.parse() {
            Ok(ip) => vec![ip],
            Err(_) => self.upstream.lookup(&endpoint.host).await?,
        };
        let mut addresses: Vec<_> = ips.into_iter().map(|ip| SocketAddr::new(ip, endpoint.port)).collect();
        addresses.extend(&endpoint.additional_addresses);
        let connected = dial::connect(&addresses, self.cluster().tcp_keepalive).await;
        connected.map_err(|error| cannot_connect(endpoint, error))
    }
}

fn tls_details(tls: &ClientTls, stream: &TlsStream<Socket>) -> TlsDetails {
    let session = stream.get_ref().1;
    let peer = tls.only_name.clone().unwrap_or_else(|| {
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        let names = match tls.transport {
            Transport::MutualTls => tls::uri_names,
            _ => tls::names,
        };
        leaf.and_then(|leaf| names(leaf).into_iter().next()).unwrap_or_default()
    });
    TlsDetails {
        transport: tls.transport,
        sni: tls.sni.clone(),
        alpn_offered: tls.alpn.clone(),
        alpn: session.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned()),
        peer_id: peer.parse().ok(),
        peer,
    }
}

fn cannot_connect(endpoint: &Endpoint, error: io::Error) -> Error {
    let message = match endpoint.is_gateway() {
        true => "the gateway does not accept connections",
        false => "cannot connect",
    };
    Error::with_source(ErrorKind::Dial, message, error)
}

/// What a failed handshake means in a mesh.
fn handshake_failed(endpoint: &Endpoint, error: io::Error) -> Error {
    let tls = error.get_ref().and_then(|inside| inside.downcast_ref::<TlsError>());
    match tls {
        Some(TlsError::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            match other.downcast_ref::<IdentityMismatch>() {
                Some(mismatch) => Error::mismatch(mismatch.clone()),
                None => not_accepted(error),
            }
        }
        Some(TlsError::InvalidCertificate(_)) => not_accepted(error),
        Some(TlsError::AlertReceived(_)) => {
            Error::with_source(ErrorKind::Tls, "the peer refused the handshake", error).because(&[
                "it does not trust this workload's root or trust domain",
                "it demands other TLS versions",
            ])
        }
        Some(TlsError::InvalidMessage(_)) => {
            Error::with_source(ErrorKind::Tls, "the peer does not speak TLS", error).because(&[
                "it has no sidecar although it claims one",
                "PeerAuthentication DISABLE on its port",
            ])
        }
        Some(_) => Error::with_source(ErrorKind::Tls, "the handshake failed", error),
        None => closed(endpoint, error),
    }
}

fn not_accepted(error: io::Error) -> Error {
    Error::with_source(ErrorKind::PeerIdentity, "the peer's certificate is not accepted", error).because(&[
        "it was issued under another root than this workload's",
        "it has expired, or a clock is wrong",
    ])
}

/// The connection ended during the handshake, without a word.
fn closed(endpoint: &Endpoint, error: io::Error) -> Error {
    if endpoint.is_gateway() {
        Error::with_source(
            ErrorKind::Tls,
            "the gateway closed the connection during the handshake",
            error,
        )
        .because(&[
            "the gateway's `hosts` do not cover the service",
            "the gateway does not know the SNI: a subset or an SNI that only this side's DestinationRule has",
            "the gateway has no endpoint for the service with `tlsMode: istio`",
        ])
    } else {
        Error::with_source(ErrorKind::Tls, "the peer closed the connection during the handshake", error)
            .because(&[
                "its port does not take mesh mTLS: no sidecar, or PeerAuthentication DISABLE",
                "it is in another network whose gateway istiod does not know",
            ])
    }
}
