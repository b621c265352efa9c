//! Creates TLS configurations.

use std::sync::Arc;

use nds_client::resources::cluster::{Cluster, TlsContext, TlsVersion};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{DnsName, ServerName},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{
    ClientTls, TlsRequest, TlsSettings, alpn, files::FileCredentials, names::ExpectedNames,
    verifier::PeerVerifier,
};
use crate::{
    connection::Transport,
    error::{Error, ErrorKind},
    target::Host,
};

/// The inputs for a rustls client configuration.
struct Parts {
    roots: Arc<RootCertStore>,
    expected: ExpectedNames,
    certificate: Option<Arc<CertifiedKey>>,
    server_name: ServerName<'static>,
    sni: Arc<str>,
    alpn: Arc<[String]>,
    transport: Transport,
}

/// Creates a configuration for mesh mTLS.
pub(super) fn mutual(request: TlsRequest<'_>, id: u64, settings: &TlsSettings) -> Result<ClientTls, Error> {
    let TlsRequest { cluster, identity, context, .. } = request;
    // If istiod has no SNI for a cluster, it sends the name of the cluster, which gateways do not know as an SNI.
    let given = context.sni.clone().filter(|sni| *sni != cluster.name.to_string());
    let sni = given.unwrap_or_else(|| cluster.name.sni());
    let server_name = server_name(cluster, &sni)?;
    let parts = Parts {
        roots: identity.roots().clone(),
        expected: ExpectedNames::workload(&context.subject_alt_names, identity.spiffe_id().trust_domain()),
        certificate: Some(identity.certified_key().clone()),
        server_name,
        sni: sni.into(),
        alpn: alpn::offer(request.protocol, &context.alpn_protocols).into(),
        transport: Transport::MutualTls,
    };
    parts.build(request, id, settings)
}

/// Creates a configuration for TLS with the certificates of a DestinationRule. Without a configured SNI, the client
/// sends the requested host (Envoy's `auto_sni`).
pub(super) fn originated(
    request: TlsRequest<'_>,
    host: &Host,
    material: &FileCredentials,
    id: u64,
    settings: &TlsSettings,
) -> Result<ClientTls, Error> {
    let TlsRequest { cluster, context, .. } = request;
    let (server_name, sni) = match (&context.sni, host) {
        (Some(sni), _) => (server_name(cluster, sni)?, sni.clone()),
        (None, Host::Name(name)) => (server_name(cluster, name)?, name.clone()),
        // An IP address is not allowed as SNI (RFC 6066 §3).
        (None, Host::Ip(ip)) => (ServerName::IpAddress((*ip).into()), String::new()),
    };
    let parts = Parts {
        roots: material.roots.clone(),
        expected: ExpectedNames::server(
            &context.subject_alt_names,
            &server_name,
            cluster.auto_san_validation,
        ),
        certificate: material.certificate.clone(),
        server_name,
        sni: sni.into(),
        alpn: alpn::offer_passthrough(request.protocol, &context.alpn_protocols).into(),
        transport: Transport::Tls,
    };
    parts.build(request, id, settings)
}

impl Parts {
    fn build(self, request: TlsRequest<'_>, id: u64, settings: &TlsSettings) -> Result<ClientTls, Error> {
        let TlsRequest { cluster, identity, context, .. } = request;
        let expected = self.expected.texts().into();
        let only_name = self.expected.only_name().map(str::to_owned);
        let provider = identity.provider();
        let verifier = PeerVerifier::new(self.roots, self.expected, provider);
        let versions = versions(cluster, context)?;
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| {
            let message = format!(
                "the crypto provider supports none of the TLS versions that `{}` allows",
                cluster.name
            );
            Error::with_source(ErrorKind::Tls, message, error)
        })?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.certificate {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        if let Some(key_log) = &settings.key_log {
            config.key_log = key_log.clone();
        }
        if let Some(time) = &settings.time {
            config.time_provider = time.clone();
        }
        let (server_name, sni, alpn, transport) = (self.server_name, self.sni, self.alpn, self.transport);
        let config = Arc::new(config);
        let sessions = Arc::default();
        Ok(ClientTls { id, config, sessions, server_name, sni, alpn, expected, only_name, transport })
    }
}

/// Returns the versions (TLS 1.2, TLS 1.3 or both) that the control plane allows.
fn versions(
    cluster: &Cluster,
    context: &TlsContext,
) -> Result<Vec<&'static SupportedProtocolVersion>, Error> {
    let allowed = |version: TlsVersion| {
        context.minimum_version.is_none_or(|minimum| minimum <= version)
            && context.maximum_version.is_none_or(|maximum| version <= maximum)
    };
    let known = [(TlsVersion::V1_3, &TLS13), (TlsVersion::V1_2, &TLS12)];
    let left: Vec<_> =
        known.into_iter().filter(|(version, _)| allowed(*version)).map(|(_, known)| known).collect();
    if left.is_empty() {
        let name = &cluster.name;
        let message =
            format!("`{name}` allows neither TLS 1.2 nor TLS 1.3, and older versions are not supported");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(left)
}

fn server_name(cluster: &Cluster, sni: &str) -> Result<ServerName<'static>, Error> {
    DnsName::try_from(sni.to_owned()).map(ServerName::DnsName).map_err(|error| {
        Error::with_source(
            ErrorKind::Unsupported,
            format!(
                "invalid server name `{sni}` of `{}`: labels have at most 63 letters, digits, `-` and `_`, and the last label \
                 must not be a number (shorten the name of the subset; use a host without wildcard)",
                cluster.name,
            ),
            error,
        )
    })
}
