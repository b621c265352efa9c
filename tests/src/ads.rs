//! A client of istiod for tests: CA and delta ADS without Sidestep's code, so that a test sees every message unchanged
//! and can send any message.

use std::{fmt, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};
use xds_proto::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
        },
    },
    google::rpc,
    istio::v1::auth::{
        IstioCertificateRequest, IstioCertificateResponse,
        istio_certificate_service_client::IstioCertificateServiceClient,
    },
    type_url,
};

mod node;

pub use node::NodeBuilder;

/// The timeout of a response, so that a hang fails the test.
const PATIENCE: Duration = Duration::from_secs(20);
/// The name in the certificate of istiod.
const NAME: &str = "istiod.istio-system.svc";

/// A real istiod or that of a sandbox.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address of CA and ADS, over TLS.
    pub address: SocketAddr,
    /// The root certificates as PEM.
    pub root_pem: String,
}

/// The credentials of a client.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The bearer token.
    pub token: Option<String>,
    /// The values of the header `clusterid`.
    pub cluster_header: Vec<String>,
}

impl Credentials {
    /// Creates credentials from a token and the cluster whose API server issued it.
    pub fn token(token: impl Into<String>, cluster: &str) -> Self {
        Self { token: Some(token.into()), cluster_header: vec![cluster.to_owned()] }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            let header = format!("Bearer {token}").parse().expect("a token that is a valid header");
            request.metadata_mut().insert("authorization", header);
        }
        for cluster in &self.cluster_header {
            request.metadata_mut().append("clusterid", cluster.parse().expect("a cluster id"));
        }
        request
    }
}

impl Server {
    async fn channel(&self) -> Channel {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.root_pem.as_bytes()) {
            roots.add(certificate.expect("a root certificate")).expect("a root certificate");
        }
        let mut tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let (tls, address) = (TlsConnector::from(Arc::new(tls)), self.address);
        let dial = tower::service_fn(move |_: http::Uri| {
            let tls = tls.clone();
            async move {
                let name = ServerName::try_from(NAME).expect("a DNS name");
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let stream = tls.connect(name, stream).await?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        let endpoint = Endpoint::from_static("http://istiod.istio-system.svc");
        endpoint.connect_with_connector(dial).await.expect("istiod listens")
    }

    /// Opens a delta stream. A rejection by istiod is visible when reading from it.
    pub async fn stream(&self, credentials: &Credentials) -> Stream {
        let (requests, outgoing) = mpsc::channel(64);
        let request = credentials.request(ReceiverStream::new(outgoing));
        let mut client =
            AggregatedDiscoveryServiceClient::new(self.channel().await).max_decoding_message_size(usize::MAX);
        let opening = async move {
            let response = client.delta_aggregated_resources(request).await;
            response.map(tonic::Response::into_inner)
        };
        Stream { requests, responses: Responses::Opening(Box::pin(opening)), probes: 0 }
    }

    /// Requests a certificate.
    ///
    /// # Errors
    ///
    /// Returns the status with which istiod rejected the request.
    pub async fn sign(
        &self,
        credentials: &Credentials,
        csr: &str,
        seconds: i64,
    ) -> Result<IstioCertificateResponse, Status> {
        let message =
            IstioCertificateRequest { csr: csr.to_owned(), validity_duration: seconds, metadata: None };
        let request = credentials.request(message);
        let mut client = IstioCertificateServiceClient::new(self.channel().await);
        let answer = timeout(PATIENCE, client.create_certificate(request)).await;
        answer.expect("istiod responds").map(tonic::Response::into_inner)
    }
}

/// Returns a certificate signing request without names, as PEM.
pub fn csr() -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a CSR").pem().expect("a CSR")
}

/// A delta ADS stream.
pub struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Responses,
    probes: u32,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// The responses of a stream. grpc-go sends its headers with the first response, which needs a request.
enum Responses {
    Opening(Pin<Box<dyn Future<Output = Result<Streaming<DeltaDiscoveryResponse>, Status>> + Send>>),
    Open(Box<Streaming<DeltaDiscoveryResponse>>),
}

impl Responses {
    async fn message(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        if let Self::Opening(call) = self {
            *self = Self::Open(Box::new(call.await?));
        }
        match self {
            Self::Open(responses) => {
                responses.message().await?.ok_or_else(|| Status::ok("the stream was closed"))
            }
            Self::Opening(_) => Err(Status::unavailable("the stream is still being opened")),
        }
    }
}

/// Returns an empty request of this type.
pub fn request(kind: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.to_owned(), ..DeltaDiscoveryRequest::default() }
}

/// Returns a request that subscribes to these names.
pub fn subscription(kind: &str, names: &[&str]) -> DeltaDiscoveryRequest {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    DeltaDiscoveryRequest { resource_names_subscribe: names, ..request(kind) }
}

impl Stream {
    /// Sends a message. The end of the stream is detected when reading.
    pub async fn send(&self, request: DeltaDiscoveryRequest) {
        let _ = self.requests.send(request).await;
    }

    /// Sends the first message of a stream, with the node and a type to subscribe to.
    pub async fn introduce(&self, node: &Node, kind: &str) {
        self.send(DeltaDiscoveryRequest { node: Some(node.clone()), ..request(kind) }).await;
    }

    /// Subscribes, without a nonce.
    pub async fn subscribe(&self, kind: &str, names: &[&str]) {
        self.send(subscription(kind, names)).await;
    }

    /// Unsubscribes, without a nonce.
    pub async fn unsubscribe(&self, kind: &str, names: &[String]) {
        let resource_names_unsubscribe = names.to_vec();
        self.send(DeltaDiscoveryRequest { resource_names_unsubscribe, ..request(kind) }).await;
    }

    /// Acknowledges a response.
    pub async fn ack(&self, response: &DeltaDiscoveryResponse) {
        let response_nonce = response.nonce.clone();
        self.send(DeltaDiscoveryRequest { response_nonce, ..request(&response.type_url) }).await;
    }

    /// Rejects a response. A NACK for a type without a subscription on this stream crashes istiod.
    pub async fn nack(&self, kind: &str, nonce: &str, message: &str) {
        let error_detail = Some(rpc::Status { code: 13, message: message.to_owned() });
        self.send(DeltaDiscoveryRequest { response_nonce: nonce.to_owned(), error_detail, ..request(kind) })
            .await;
    }

    /// Waits for the next response.
    ///
    /// # Errors
    ///
    /// Returns the status with which the stream ended, or `Ok` if it had none.
    pub async fn outcome(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        timeout(PATIENCE, self.responses.message()).await.expect("istiod responds")
    }

    /// Waits for the next response. Panics if the stream ends.
    pub async fn next(&mut self) -> DeltaDiscoveryResponse {
        self.outcome().await.expect("the stream is open")
    }

    /// Waits for the next response of a type and ignores others.
    pub async fn next_of(&mut self, kind: &str) -> DeltaDiscoveryResponse {
        loop {
            let response = self.next().await;
            if response.type_url == kind {
                return response;
            }
        }
    }

    /// Returns the next response if one arrives in time.
    pub async fn within(&mut self, time: Duration) -> Option<DeltaDiscoveryResponse> {
        let answer = timeout(time, self.responses.message()).await.ok()?;
        Some(answer.expect("the stream is open"))
    }

    /// Ignores responses and waits for the end of the stream.
    pub async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.outcome().await {
                return status;
            }
        }
    }

    /// Returns the responses so far, without a timeout. It subscribes to the endpoints of an unknown cluster, which
    /// always gets a response, and returns the responses before that one.
    pub async fn before_probe(&mut self) -> Vec<DeltaDiscoveryResponse> {
        self.probes += 1;
        let probe = format!("outbound|1||probe-{}", self.probes);
        self.subscribe(type_url::ENDPOINT, &[&probe]).await;
        let mut before = Vec::new();
        loop {
            let response = self.next().await;
            if response.resources.iter().any(|resource| resource.name == probe) {
                return before;
            }
            before.push(response);
        }
    }
}
