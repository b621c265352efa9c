//! Certificate requests to istiod's CA.

use std::{sync::Arc, time::Duration};

use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use tonic::Code;
use xds_proto::{
    google::protobuf::{Struct, Value, value::Kind},
    istio::v1::auth::{
        IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
    },
};

use super::{channel::Connection, connect::Connector, headers::authorize, status::status_error};
use crate::{
    error::{Error, ErrorKind},
    identity::{Identity, SigningRequest, certificates, credentials::Credentials, root_store},
    runtime::Runtime,
};

/// A certificate and the roots issued with it.
pub(crate) struct Issued {
    pub(crate) identity: Identity,
    pub(crate) roots: Vec<CertificateDer<'static>>,
}

/// Requests a certificate for a new private key. `roots` verify the server. `failures` is the number of consecutive
/// failed requests.
pub(crate) async fn issue(
    runtime: &Runtime,
    credentials: &Credentials,
    roots: &[CertificateDer<'static>],
    failures: u32,
) -> Result<Issued, Error> {
    let config = &runtime.config;
    let roots = Arc::new(root_store(roots)?);
    let connector = Connector { runtime, servers: &config.ca, roots, failures };
    let connection = connector.connect(credentials).await?;
    let request = SigningRequest::new(&config.namespace, &config.service_account, config.key_type)?;
    let ttl = config.certificate_ttl.as_secs();
    let asked = timeout(SIGN_TIMEOUT, async {
        match create(runtime, &connection, &request, ttl).await? {
            Some(chain) => Ok(chain),
            // The CA rejects a lifetime above its maximum; zero requests its default (istio `pki/ca/ca.go`).
            None => Ok(create(runtime, &connection, &request, 0).await?.unwrap_or_default()),
        }
    });
    let chain = asked.await.unwrap_or_else(|elapsed| {
        let message = format!("istiod's CA at {} does not answer: check its log", config.ca[0]);
        Err(Error::with_source(ErrorKind::Unavailable, message, elapsed))
    })?;
    let (chain, roots) = split(&chain)?;
    let identity = Identity::new(chain, request.into_key(), runtime.provider.clone())?;
    Ok(Issued { identity, roots })
}

/// The maximum time between the request and the certificate.
const SIGN_TIMEOUT: Duration = Duration::from_secs(20);

/// Sends one certificate request. Returns `None` if the CA rejects the lifetime `ttl_seconds`.
async fn create(
    runtime: &Runtime,
    connection: &Connection,
    request: &SigningRequest,
    ttl_seconds: u64,
) -> Result<Option<Vec<String>>, Error> {
    let config = &runtime.config;
    let validity_duration = i64::try_from(ttl_seconds).unwrap_or(i64::MAX);
    let metadata = config.cert_signer.as_deref().map(signer);
    let message = IstioCertificateRequest { csr: request.pem.clone(), validity_duration, metadata };
    let mut call = tonic::Request::new(message);
    authorize(&mut call, &connection.credentials, &config.cluster_id, &config.ca_headers)?;
    let mut client = IstioCertificateServiceClient::new(connection.channel.clone());
    match client.create_certificate(call).await {
        Ok(response) => Ok(Some(response.into_inner().cert_chain)),
        Err(status) if status.code() == Code::InvalidArgument && ttl_seconds > 0 => {
            tracing::warn!(
                ttl_seconds,
                reason = status.message(),
                "the CA rejected the certificate lifetime: requesting its default"
            );
            Ok(None)
        }
        Err(status) => Err(status_error(runtime, connection, status)),
    }
}

/// Returns the metadata that select another signer than istiod (istio
/// `security/pkg/nodeagent/caclient/providers/citadel/client.go`).
fn signer(name: &str) -> Struct {
    let name = Value { kind: Some(Kind::StringValue(name.to_owned())) };
    Struct { fields: [("CertSigner".to_owned(), name)].into() }
}

/// The parts of a response of the CA: the chain (leaf and intermediates) and the roots. The last element of a response
/// is the root bundle (istio `security/pkg/server/ca`).
type Split = (Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>);

fn split(chain: &[String]) -> Result<Split, Error> {
    let Some((roots, chain)) = chain.split_last().filter(|(_, chain)| !chain.is_empty()) else {
        let message =
            format!("istiod's CA answered with {} certificates instead of a chain and its root", chain.len());
        return Err(Error::new(ErrorKind::InvalidResource, message));
    };
    let roots = certificates(roots.as_bytes(), "the roots that istiod's CA sent")?;
    let mut leaf_first = Vec::new();
    for element in chain {
        let certificates = certificates(element.as_bytes(), "the certificate chain that istiod's CA sent")?;
        // A plugged-in CA repeats its root among the intermediates. Peers do not need it.
        leaf_first.extend(certificates.into_iter().filter(|certificate| !roots.contains(certificate)));
    }
    Ok((leaf_first, roots))
}
