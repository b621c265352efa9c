//! TLS with istiod: what is presented, what must be proved, and what a failure means.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{CertificateError, ClientConfig, RootCertStore, client::ResolvesClientCert, sign::CertifiedKey};
use rustls_pki_types::{ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::refusal::{certificate_alert, refused};
use crate::{
    config::{Config, ServerAddress},
    duration::Rough,
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
    runtime::Runtime,
};

/// The name that istiod must prove (istio `pilot/pkg/grpc/tls.go`; its certificates have no IP addresses).
pub(super) fn server_name(config: &Config, server: &ServerAddress) -> Result<ServerName<'static>, Error> {
    let unprovable = !server.is_provable();
    let derived = if unprovable { "istiod.istio-system.svc" } else { &server.host };
    let name = config.istiod_name.as_deref().unwrap_or(derived);
    ServerName::try_from(name.to_owned()).map_err(|error| {
        Error::with_source(ErrorKind::Config, format!("istiod's name {name:?} is not a DNS name"), error)
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
            Error::with_source(ErrorKind::Config, "the crypto provider has no usable TLS version", error)
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

/// Why a handshake failed, where it is about certificates; else the error again.
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
        return Ok(refused(credentials, alert, error));
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
    let roots = config.roots_file.as_deref().map_or("the given roots".into(), |file| file.to_string_lossy());
    let message = match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "what answers at {address} has no certificate under {roots}: fetch the mesh's root anew (ConfigMap istio-ca-root-cert), or check that the address is istiod's"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "the certificate at {address} is not for the name {name}: set the istiod name to one that it has, usually istiod.istio-system.svc"
        ),
        CertificateError::ExpiredContext { time, not_after } => {
            let by = between(*not_after, *time);
            let message = format!(
                "istiod's certificate at {address} ended {by} ago by this host's clock: set the clock if it is fast, else renew istiod's certificate"
            );
            return (ErrorKind::Clock, message);
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let by = between(*time, *not_before);
            let message = format!(
                "istiod's certificate at {address} begins {by} from now by this host's clock: the clock is slow, set it"
            );
            return (ErrorKind::Clock, message);
        }
        _ => format!("the certificate at {address} cannot be verified under {roots}"),
    };
    (ErrorKind::UntrustedServer, message)
}

fn between(earlier: UnixTime, later: UnixTime) -> Rough {
    Rough(Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs())))
}

/// Presents one certificate, whatever the server hints at.
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
