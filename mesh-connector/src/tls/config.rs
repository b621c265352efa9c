//! One TLS configuration, made whole.

use std::sync::Arc;

use nds_client::{Cluster, Identity, TlsContext};
use rustls::{
    ClientConfig,
    client::Resumption,
    pki_types::{DnsName, ServerName},
    sign::SingleCertAndKey,
};

use super::{
    Prepared, alpn,
    verifier::{Expected, PeerVerifier},
};
use crate::{Error, ErrorKind, Protocol};

/// One server name, with the eight tickets that rustls keeps for it.
const SESSIONS: usize = 8;

pub(super) fn prepare(
    cluster: &Cluster,
    context: &TlsContext,
    protocol: Protocol,
    identity: &Identity,
) -> Result<Prepared, Error> {
    let (sni, server_name) = server_name(cluster, context)?;
    let alpn: Arc<[String]> = alpn::offer(protocol, &context.alpn_protocols).into();
    let expected = Expected::new(&context.subject_alt_names, identity.spiffe_id().trust_domain());
    let texts = expected.texts().into();
    let provider = identity.provider();
    let verifier = PeerVerifier::new(identity.roots().clone(), expected, provider);
    let versions =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| {
        Error::with_source(ErrorKind::Tls, "the crypto provider supports neither TLS 1.2 nor TLS 1.3", error)
    })?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified_key().clone())));
    config.alpn_protocols = alpn.iter().map(|name| name.clone().into_bytes()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Prepared { config: Arc::new(config), server_name, sni, alpn, expected: texts })
}

/// The server name of the control plane, or the one that gateways expect where it gives none. istiod writes the
/// cluster's own name where it has nothing better, which no gateway knows.
fn server_name(cluster: &Cluster, context: &TlsContext) -> Result<(Arc<str>, ServerName<'static>), Error> {
    let given = context.sni.clone().filter(|sni| *sni != cluster.name.to_string());
    let sni = given.unwrap_or_else(|| cluster.name.sni());
    match DnsName::try_from(sni.clone()) {
        Ok(name) => Ok((sni.into(), ServerName::DnsName(name))),
        Err(error) => Err(Error::with_source(
            ErrorKind::Unsupported,
            format!(
                "the server name `{sni}` of `{}` cannot be sent: labels have at most 63 letters, digits, `-` and \
                 `_`, and the last one is no number (shorten the subset's name; wildcard hosts have none)",
                cluster.name,
            ),
            error,
        )),
    }
}
