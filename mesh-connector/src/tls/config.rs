//! One TLS configuration, made whole.

use std::sync::Arc;

use nds_client::resources::cluster::{Cluster, TlsContext, TlsVersion};
use rustls::{
    ClientConfig, KeyLog, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    pki_types::{DnsName, ServerName},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::{ClientTls, TlsUse, alpn, files::Material, names::Expected, verifier::PeerVerifier};
use crate::{
    connection::Transport,
    error::{Error, ErrorKind},
    target::Host,
};

/// One server name, with the eight tickets that rustls keeps for it.
const SESSIONS: usize = 8;

/// Everything that decides whom a configuration trusts and what it presents.
struct Parts {
    roots: Arc<RootCertStore>,
    expected: Expected,
    certificate: Option<Arc<CertifiedKey>>,
    server_name: ServerName<'static>,
    sni: Arc<str>,
    alpn: Arc<[String]>,
    transport: Transport,
}

/// Of mesh mTLS.
pub(super) fn mutual(of: TlsUse<'_>, id: u64, key_log: Option<&Arc<dyn KeyLog>>) -> Result<ClientTls, Error> {
    let TlsUse { cluster, identity, context, .. } = of;
    // istiod writes the cluster's own name where it has nothing better, which no gateway knows.
    let given = context.sni.clone().filter(|sni| *sni != cluster.name.to_string());
    let sni = given.unwrap_or_else(|| cluster.name.sni());
    let server_name = server_name(cluster, &sni)?;
    let parts = Parts {
        roots: identity.roots().clone(),
        expected: Expected::workload(&context.subject_alt_names, identity.spiffe_id().trust_domain()),
        certificate: Some(identity.certified_key().clone()),
        server_name,
        sni: sni.into(),
        alpn: alpn::offer(of.protocol, &context.alpn_protocols).into(),
        transport: Transport::MutualTls,
    };
    parts.build(of, id, key_log)
}

/// Of TLS that a DestinationRule has its own certificates for. Without an SNI the host that is asked for is sent
/// (Envoy's `auto_sni`).
pub(super) fn originated(
    of: TlsUse<'_>,
    host: &Host,
    material: &Material,
    id: u64,
    key_log: Option<&Arc<dyn KeyLog>>,
) -> Result<ClientTls, Error> {
    let TlsUse { cluster, context, .. } = of;
    let (server_name, sni) = match (&context.sni, host) {
        (Some(sni), _) => (server_name(cluster, sni)?, sni.clone()),
        (None, Host::Name(name)) => (server_name(cluster, name)?, name.clone()),
        // An address is no SNI (RFC 6066 §3).
        (None, Host::Ip(ip)) => (ServerName::IpAddress((*ip).into()), String::new()),
    };
    let names = if cluster.auto_san_validation { &[][..] } else { &context.subject_alt_names[..] };
    let parts = Parts {
        roots: material.roots.clone(),
        expected: Expected::server(names, &server_name),
        certificate: material.certificate.clone(),
        server_name,
        sni: sni.into(),
        alpn: alpn::offer_outside(of.protocol, &context.alpn_protocols).into(),
        transport: Transport::Tls,
    };
    parts.build(of, id, key_log)
}

impl Parts {
    fn build(self, of: TlsUse<'_>, id: u64, key_log: Option<&Arc<dyn KeyLog>>) -> Result<ClientTls, Error> {
        let TlsUse { cluster, identity, context, .. } = of;
        let expected = self.expected.texts().into();
        let only_name = self.expected.only_name().map(str::to_owned);
        let provider = identity.provider();
        let verifier = PeerVerifier::new(self.roots, self.expected, provider);
        let versions = versions(cluster, context)?;
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_protocol_versions(&versions);
        let builder = builder.map_err(|error| {
            let message =
                format!("the crypto provider supports no TLS version that `{}` allows", cluster.name);
            Error::with_source(ErrorKind::Tls, message, error)
        })?;
        let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.certificate {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.clone().into_bytes()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        if let Some(key_log) = key_log {
            config.key_log = key_log.clone();
        }
        let (server_name, sni, alpn, transport) = (self.server_name, self.sni, self.alpn, self.transport);
        let config = Arc::new(config);
        Ok(ClientTls { id, config, server_name, sni, alpn, expected, only_name, transport })
    }
}

/// Those of TLS 1.2 and 1.3 that the control plane leaves.
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
            format!("`{name}` allows neither TLS 1.2 nor TLS 1.3, and older versions are not spoken");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(left)
}

fn server_name(cluster: &Cluster, sni: &str) -> Result<ServerName<'static>, Error> {
    DnsName::try_from(sni.to_owned()).map(ServerName::DnsName).map_err(|error| {
        Error::with_source(
            ErrorKind::Unsupported,
            format!(
                "the server name `{sni}` of `{}` cannot be sent: labels have at most 63 letters, digits, `-` and \
                 `_`, and the last one is no number (shorten the subset's name; wildcard hosts have none)",
                cluster.name,
            ),
            error,
        )
    })
}
