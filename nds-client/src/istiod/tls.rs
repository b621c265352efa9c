//! TLS with istiod: the client certificate, the verification of the server, and errors of the handshake.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{CertificateError, ClientConfig, RootCertStore, client::ResolvesClientCert, sign::CertifiedKey};
use rustls_pki_types::{ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::rejection::{certificate_alert, rejection_error};
use crate::{
    config::{Config, ServerAddress},
    duration::HumanDuration,
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
    runtime::Runtime,
};

/// Returns the name that the certificate of istiod must contain (istio `pilot/pkg/grpc/tls.go`). The certificate
/// contains neither IP addresses nor `localhost`; if `server` has such a host and no name of istiod is configured, the
/// default name of istiod is returned.
pub(super) fn server_name(config: &Config, server: &ServerAddress) -> Result<ServerName<'static>, Error> {
    let unprovable = !server.is_provable();
    let derived = if unprovable { "istiod.istio-system.svc" } else { &server.host };
    let name = config.istiod_name.as_deref().unwrap_or(derived);
    ServerName::try_from(name.to_owned()).map_err(|error| {
        Error::with_source(
            ErrorKind::Config,
            format!("the name of istiod, {name:?}, is not a DNS name: correct the configuration"),
            error,
        )
    })
}

pub(super) fn connector(
    runtime: &Runtime,
    roots: Arc<RootCertStore>,
    credentials: &Credentials,
) -> Result<TlsConnector, Error> {
    let time = Arc::new(runtime.clock.clone());
    let builder = ClientConfig::builder_with_details(runtime.provider.clone(), time)
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            Error::with_source(
                ErrorKind::Config,
                "the crypto provider supports neither TLS 1.2 nor TLS 1.3: use another one",
                error,
            )
        })?
        .with_root_certificates(roots);
    let mut tls = match credentials {
        Credentials::Certificate(identity) => {
            builder.with_client_cert_resolver(Arc::new(OneCertificate(identity.certified_key().clone())))
        }
        Credentials::Token(_) => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// Converts a handshake error that concerns a certificate. Returns any other error unchanged as `Err`.
pub(super) fn handshake_error(
    config: &Config,
    credentials: &Credentials,
    address: SocketAddr,
    name: &ServerName<'_>,
    error: io::Error,
) -> Result<Error, io::Error> {
    if let Some(alert) =
        certificate_alert(&error).filter(|_| matches!(credentials, Credentials::Certificate(_)))
    {
        return Ok(rejection_error(credentials, alert, error));
    }
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(reason)) = inner else {
        return Err(error);
    };
    let (kind, message) = untrusted(config, address, &name.to_str(), reason);
    Ok(Error::with_source(kind, message, error))
}

fn untrusted(
    config: &Config,
    address: SocketAddr,
    name: &str,
    reason: &CertificateError,
) -> (ErrorKind, String) {
    let roots =
        config.roots_file.as_deref().map_or("the configured roots".into(), |file| file.to_string_lossy());
    let message = match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the certificate of the server at {address} was not issued under {roots}: update the mesh root from the ConfigMap istio-ca-root-cert, or check that the address is that of istiod"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the certificate of the server at {address} is not valid for the name {name}: set the name of istiod to one in that certificate, usually istiod.istio-system.svc"
        ),
        CertificateError::ExpiredContext { time, not_after } => {
            let by = between(*not_after, *time);
            let message = format!(
                "the certificate of istiod at {address} expired {by} ago by the clock of this host: set the clock if it is fast, else renew the certificate of istiod"
            );
            return (ErrorKind::Clock, message);
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let by = between(*time, *not_before);
            let message = format!(
                "the certificate of istiod at {address} becomes valid in {by} by the clock of this host: the clock is slow, set it"
            );
            return (ErrorKind::Clock, message);
        }
        _ => format!(
            "the certificate of the server at {address} cannot be verified with {roots}: check that the address is that of istiod"
        ),
    };
    (ErrorKind::UntrustedServer, message)
}

fn between(earlier: UnixTime, later: UnixTime) -> HumanDuration {
    HumanDuration(Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs())))
}

/// Presents one certificate regardless of the CAs that the server names.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesClientCert for OneCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
