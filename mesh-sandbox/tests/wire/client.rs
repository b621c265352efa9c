//! A client of istiod without Sidestep's code: CSR and delta ADS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mesh_sandbox::{Sandbox, TokenOptions};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use xds_proto::envoy::config::cluster::v3::Cluster;
use xds_proto::envoy::config::core::v3::Node;
use xds_proto::envoy::config::endpoint::v3::ClusterLoadAssignment;
use xds_proto::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds_proto::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use xds_proto::google::protobuf::value::Kind;
use xds_proto::google::protobuf::{Struct, Value};
use xds_proto::google::rpc;
use xds_proto::istio::networking::nds::v1::NameTable;
use xds_proto::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use xds_proto::istio::v1::auth::{IstioCertificateRequest, IstioCertificateResponse};
use xds_proto::{any, type_url};

use crate::mesh::tour;
use crate::tls::{self, Identity};

/// A timeout that is longer than any operation here takes, so that a hang fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client of istiod, with its credentials.
#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    root_pem: String,
    pub(crate) token: Option<String>,
    pub(crate) identity: Option<Identity>,
    pub(crate) cluster_header: Vec<String>,
}

/// Starts the mesh of the tour and requests a certificate for its VM.
pub(crate) async fn tour_and_identity() -> (Sandbox, Identity) {
    let sandbox = tour().await;
    let identity = Client::vm(&sandbox).certificate().await;
    (sandbox, identity)
}

impl Client {
    /// A client with a token of `vms/edge-app`.
    pub(crate) fn vm(sandbox: &Sandbox) -> Self {
        Self::with_token(sandbox, &sandbox.token("vms", "edge-app", &TokenOptions::default()))
    }

    pub(crate) fn with_token(sandbox: &Sandbox, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::anonymous(sandbox) }
    }

    pub(crate) fn with_identity(sandbox: &Sandbox, identity: Identity) -> Self {
        Self { identity: Some(identity), ..Self::anonymous(sandbox) }
    }

    pub(crate) fn anonymous(sandbox: &Sandbox) -> Self {
        Self {
            address: sandbox.istiod_address(),
            root_pem: sandbox.root_certificate_pem(),
            token: None,
            identity: None,
            cluster_header: Vec::new(),
        }
    }

    async fn channel(&self) -> Result<Channel, tonic::transport::Error> {
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(tls::roots(&self.root_pem));
        let mut config = match &self.identity {
            Some(identity) => {
                builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let address = self.address;
        let dial = tower::service_fn(move |_: http::Uri| {
            let connector = connector.clone();
            async move {
                let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
                let stream = connector.connect(name, TcpStream::connect(address).await?).await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        Endpoint::from_static("http://istiod.istio-system.svc").connect_with_connector(dial).await
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        for cluster in &self.cluster_header {
            request.metadata_mut().append("clusterid", cluster.parse().unwrap());
        }
        request
    }

    pub(crate) async fn sign(&self, csr: &str, seconds: i64) -> Result<IstioCertificateResponse, Status> {
        let channel = self.channel().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        let message =
            IstioCertificateRequest { csr: csr.to_owned(), validity_duration: seconds, metadata: None };
        let mut client = IstioCertificateServiceClient::new(channel);
        let response = client.create_certificate(self.request(message));
        timeout(PATIENCE, response).await.unwrap().map(tonic::Response::into_inner)
    }

    /// Requests a certificate with the credentials of this client.
    pub(crate) async fn certificate(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let response = self.sign(&csr(&key), 3600).await.unwrap();
        let chain = vec![CertificateDer::from_pem_slice(response.cert_chain[0].as_bytes()).unwrap()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Identity { chain, key }
    }

    /// Opens a stream. istiod sends neither messages nor headers before the first request.
    pub(crate) async fn ads(&self) -> Result<Ads, Status> {
        let channel = self.channel().await.map_err(|error| Status::unavailable(format!("{error:?}")))?;
        let (requests, outgoing) = mpsc::channel(16);
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let request = self.request(ReceiverStream::new(outgoing));
        let call =
            async move { client.delta_aggregated_resources(request).await.map(tonic::Response::into_inner) };
        Ok(Ads { requests, responses: Responses::Called(tokio::spawn(call)) })
    }

    /// Opens a stream that has requested and received the name table.
    pub(crate) async fn join(&self, node: &Node) -> (Ads, NameTable) {
        let mut ads = self.ads().await.unwrap();
        ads.introduce(node, type_url::NAME_TABLE).await;
        let response = ads.next().await;
        let table = names(&response);
        ads.ack(&response).await;
        (ads, table)
    }
}

pub(crate) fn csr(key: &KeyPair) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serialize_request(key).unwrap().pem().unwrap()
}

/// A delta ADS stream.
pub(crate) struct Ads {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Responses,
}

/// The responses, before and after the response headers have been received.
enum Responses {
    Called(JoinHandle<Result<Streaming<DeltaDiscoveryResponse>, Status>>),
    Open(Box<Streaming<DeltaDiscoveryResponse>>),
}

impl Ads {
    pub(crate) async fn send(&self, request: DeltaDiscoveryRequest) {
        // The end of the stream is detected when reading.
        let _ = self.requests.send(request).await;
    }

    pub(crate) async fn introduce(&self, node: &Node, kind: &str) {
        let node = Some(node.clone());
        self.send(DeltaDiscoveryRequest { node, type_url: kind.to_owned(), ..Default::default() }).await;
    }

    pub(crate) async fn subscribe(&self, kind: &str, names: &[&str]) {
        self.send(DeltaDiscoveryRequest {
            type_url: kind.to_owned(),
            resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn ack(&self, response: &DeltaDiscoveryResponse) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn nack(&self, kind: &str, nonce: &str, message: &str) {
        self.send(DeltaDiscoveryRequest {
            type_url: kind.to_owned(),
            response_nonce: nonce.to_owned(),
            error_detail: Some(rpc::Status { code: 13, message: message.to_owned() }),
            ..Default::default()
        })
        .await;
    }

    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        self.outcome().await.unwrap().expect("the stream has ended")
    }

    /// Returns the next response of a type and ignores others.
    pub(crate) async fn next_of(&mut self, kind: &str) -> DeltaDiscoveryResponse {
        loop {
            let response = self.next().await;
            if response.type_url == kind {
                return response;
            }
        }
    }

    pub(crate) async fn outcome(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        let next = async {
            if let Responses::Called(call) = &mut self.responses {
                self.responses = Responses::Open(Box::new(call.await.unwrap()?));
            }
            match &mut self.responses {
                Responses::Open(responses) => responses.message().await,
                Responses::Called(_) => unreachable!(),
            }
        };
        timeout(PATIENCE, next).await.expect("no response")
    }

    /// Returns the status with which the stream ends.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match self.outcome().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("closed"),
                Err(status) => return status,
            }
        }
    }

    /// Sends a request that always gets a response, and returns the responses before it. An empty list means that
    /// istiod sent nothing else.
    pub(crate) async fn silence(&mut self) -> Vec<DeltaDiscoveryResponse> {
        let probe = format!("outbound|1||probe-{}", fastrand::u64(..));
        self.subscribe(type_url::ENDPOINT, &[&probe]).await;
        let mut before = Vec::new();
        loop {
            let response = self.next().await;
            if response.resources.len() == 1 && response.resources[0].name == probe {
                return before;
            }
            before.push(response);
        }
    }

    pub(crate) async fn clusters(&mut self) -> BTreeMap<String, Cluster> {
        self.subscribe(type_url::CLUSTER, &[]).await;
        let response = self.next_of(type_url::CLUSTER).await;
        self.ack(&response).await;
        clusters(&response)
    }

    pub(crate) async fn endpoints(&mut self, cluster: &str) -> ClusterLoadAssignment {
        self.subscribe(type_url::ENDPOINT, &[cluster]).await;
        let response = self.next_of(type_url::ENDPOINT).await;
        self.ack(&response).await;
        assignments(&response).remove(cluster).unwrap()
    }
}

pub(crate) fn names(response: &DeltaDiscoveryResponse) -> NameTable {
    assert_eq!(response.type_url, type_url::NAME_TABLE);
    assert_eq!(response.resources.len(), 1);
    any::unpack(response.resources[0].resource.as_ref().unwrap()).unwrap()
}

pub(crate) fn clusters(response: &DeltaDiscoveryResponse) -> BTreeMap<String, Cluster> {
    let each = response.resources.iter();
    each.map(|it| (it.name.clone(), any::unpack(it.resource.as_ref().unwrap()).unwrap())).collect()
}

pub(crate) fn assignments(response: &DeltaDiscoveryResponse) -> BTreeMap<String, ClusterLoadAssignment> {
    let each = response.resources.iter();
    each.map(|it| (it.name.clone(), any::unpack(it.resource.as_ref().unwrap()).unwrap())).collect()
}

/// The node of a VM in `network` and `cluster`.
pub(crate) fn node(network: &str, cluster: &str) -> Node {
    node_with(&[("NETWORK", network), ("CLUSTER_ID", cluster), ("DNS_CAPTURE", "true")])
}

/// The node of a VM with additional metadata.
pub(crate) fn node_with(metadata: &[(&str, &str)]) -> Node {
    let own = [("NAMESPACE", "vms"), ("SERVICE_ACCOUNT", "edge-app"), ("INSTANCE_IPS", "192.168.7.7")];
    let all = own.iter().chain(metadata).map(|(key, value)| {
        ((*key).to_owned(), Value { kind: Some(Kind::StringValue((*value).to_owned())) })
    });
    Node {
        id: "sidecar~192.168.7.7~edge-app.vms~vms.svc.cluster.local".to_owned(),
        metadata: Some(Struct { fields: all.collect() }),
        ..Node::default()
    }
}
