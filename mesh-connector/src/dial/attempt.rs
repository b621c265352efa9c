//! A connection attempt: TCP, then TLS.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::SystemTime,
};

use nds_client::{
    Identity,
    resources::{cluster::ProxyProtocol, endpoint::Endpoint},
};
use rustls::{CertificateError, Error as TlsError, OtherError};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{AttemptError, Choice, Dialer, proxy_protocol, socket as dial};
use crate::{
    connection::{ConnectionInfo, Details, TlsDetails, Transport},
    dns::UpstreamLookup,
    error::{Error, ErrorKind, IdentityMismatch},
    hosts::ActiveConnection,
    socket::Socket,
    stream::{Io, MeshStream},
    tls::{self, ClientTls, TlsRequest},
    transport::{self, TransportDecision, TransportSecurity},
};

/// The transport of a connection, ready for use.
#[derive(Debug)]
pub(crate) struct EndpointTransport {
    /// The index of the transport socket in the cluster.
    pub(crate) socket: usize,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    /// The TLS configuration. `None` for plaintext.
    pub(crate) tls: Option<Arc<ClientTls>>,
}

/// An established connection.
pub(super) struct Established {
    io: Io,
    peer_addr: SocketAddr,
    tls: Option<TlsDetails>,
}

impl<L: UpstreamLookup> Dialer<'_, L> {
    /// Returns the transport (TLS or plaintext) of a connection to the endpoint with this index.
    pub(super) fn transport(&self, index: usize) -> Result<EndpointTransport, AttemptError> {
        let (cluster, hosts) = (self.cluster(), self.hosts);
        let TransportDecision { socket, proxy_protocol, security } =
            transport::decide(cluster, hosts.endpoint(index), hosts.socket(index), self.mtls)
                .map_err(AttemptError::Refused)?;
        let protocol = self.target.protocol();
        let of = |identity, context| TlsRequest { cluster, identity, socket, context, protocol };
        let tls = self.entry.tls();
        let tls = match security {
            TransportSecurity::Plaintext => Ok(None),
            TransportSecurity::Mutual(context) => tls.mutual(of(self.valid_identity()?, context)).map(Some),
            TransportSecurity::Originated(context) => {
                tls.originated(of(self.known_identity()?, context), self.target.host()).map(Some)
            }
        };
        Ok(EndpointTransport { socket, proxy_protocol, tls: tls.map_err(AttemptError::Fatal)? })
    }

    fn known_identity(&self) -> Result<&Identity, AttemptError> {
        self.entry.identity().ok_or_else(|| {
            let message = "this workload has no certificate yet: see `Mesh::health` for the reason";
            AttemptError::Fatal(Error::new(ErrorKind::Credentials, message))
        })
    }

    fn valid_identity(&self) -> Result<&Identity, AttemptError> {
        let identity = self.known_identity()?;
        if identity.remaining(SystemTime::now()).is_zero() {
            let id = identity.spiffe_id();
            let message = format!(
                "the certificate of `{id}` has expired and was not renewed: see `Mesh::health` for the reason"
            );
            return Err(AttemptError::Fatal(Error::new(ErrorKind::Credentials, message)));
        }
        Ok(identity)
    }

    pub(super) async fn open(
        &self,
        endpoint: &Endpoint,
        transport: &EndpointTransport,
    ) -> Result<Established, Error> {
        let mut tcp = self.tcp(endpoint).await?;
        let failed = |error| cannot_connect(endpoint, error);
        let peer_addr = tcp.peer_addr().map_err(failed)?;
        if let Some(version) = transport.proxy_protocol {
            let header = proxy_protocol::header(version, tcp.local_addr().map_err(failed)?, peer_addr);
            tcp.write_all(&header).await.map_err(failed)?;
        }
        let Some(tls) = &transport.tls else {
            return Ok(Established { io: Io::Plaintext(tcp.into()), peer_addr, tls: None });
        };
        let (sessions, config) = tls.for_connection();
        let handshake = TlsConnector::from(config).connect(tls.server_name.clone(), Socket::from(tcp)).await;
        let stream = handshake.map_err(|error| handshake_failed(endpoint, error))?;
        sessions.complete(stream.get_ref().1.peer_certificates().and_then(<[_]>::first));
        let tls = Some(tls_details(tls, &stream));
        Ok(Established { io: Io::Tls(Box::new(stream)), peer_addr, tls })
    }

    /// Converts an established connection to the stream that the caller receives.
    pub(super) fn stream(
        &self,
        established: Established,
        choice: &Choice,
        active: ActiveConnection,
    ) -> MeshStream {
        let Established { io, peer_addr, tls } = established;
        let endpoint = self.hosts.endpoint(choice.index);
        let active = Arc::new(active);
        let workload_cluster = Some(&endpoint.workload.cluster).filter(|cluster| !cluster.is_empty());
        let named = (endpoint.workload.name.clone(), endpoint.workload.namespace.clone());
        let details = Details {
            key: choice.key,
            host: self.target.host().to_string(),
            port: self.target.port(),
            service: Some(self.cluster().name.host.clone()),
            cluster: Some(self.cluster().name.to_string()),
            endpoint: active.address().to_owned(),
            peer_addr,
            gateway: endpoint.is_gateway(),
            workload_cluster: workload_cluster.cloned(),
            workload: (!named.0.is_empty()).then_some(named),
            tls,
            active: if active.uses_statuses() { Arc::downgrade(&active) } else { Weak::new() },
        };
        MeshStream::new(io, ConnectionInfo(Arc::new(details)), Some(active))
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
    Error::dial(message, error)
}

/// Translates a failed handshake to an error with possible causes in the mesh.
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
        Some(TlsError::AlertReceived(_)) => Error::with_possible_causes(
            ErrorKind::Tls,
            "the peer rejected the handshake",
            Some(error.into()),
            &[
                "the peer does not trust the root or trust domain of this workload",
                "the peer requires other TLS versions",
            ],
        ),
        Some(TlsError::InvalidMessage(_)) => Error::with_possible_causes(
            ErrorKind::Tls,
            "the peer does not speak TLS",
            Some(error.into()),
            &[
                "the endpoint has no sidecar, although it has the label `security.istio.io/tlsMode: istio`",
                "a PeerAuthentication with mode DISABLE applies to the port of the endpoint",
            ],
        ),
        Some(_) => Error::with_source(ErrorKind::Tls, "the TLS handshake failed", error),
        None => closed(endpoint, error),
    }
}

fn not_accepted(error: io::Error) -> Error {
    Error::with_possible_causes(
        ErrorKind::PeerIdentity,
        "the certificate of the peer was rejected",
        Some(error.into()),
        &[
            "the certificate was issued under another root than the one of this workload",
            "the certificate has expired, or a clock is wrong",
        ],
    )
}

/// Returns the error for a connection that was closed during the handshake.
fn closed(endpoint: &Endpoint, error: io::Error) -> Error {
    if endpoint.is_gateway() {
        Error::with_possible_causes(
            ErrorKind::Tls,
            "the gateway closed the connection during the handshake",
            Some(error.into()),
            &[
                "the `hosts` of the Gateway resource do not include the service",
                "the gateway does not know the SNI, because the subset or server name exists only in the DestinationRule of this cluster",
                "the gateway has no endpoint of the service with `tlsMode: istio`",
            ],
        )
    } else {
        Error::with_possible_causes(
            ErrorKind::Tls,
            "the peer closed the connection during the handshake",
            Some(error.into()),
            &[
                "the endpoint has no sidecar, or a PeerAuthentication with mode DISABLE applies to its port",
                "the endpoint is in another network, whose gateway istiod does not know",
            ],
        )
    }
}
