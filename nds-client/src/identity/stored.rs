//! A certificate and its key in the state folder.
//!
//! The token of the VM files lives an hour; a VM that starts again later joins with the certificate it had. One file holds
//! both, so that they always belong together.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificates;
use crate::{Config, Error, ErrorKind, Identity, duration::Rough, storage::Storage};

const IDENTITY: &str = "identity.pem";
const ROOTS: &str = "roots.pem";

/// Writes the identity, and the roots that the configuration does not bring.
pub(crate) fn store(
    storage: &Storage,
    identity: &Identity,
    learnt: &[CertificateDer<'static>],
) -> Result<(), Error> {
    let key = identity.key();
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let chain: Vec<_> = identity.certified_key().cert.iter().map(certificate).collect();
    let roots: Vec<_> = learnt.iter().map(certificate).collect();
    storage.write(ROOTS, &[roots.concat().as_bytes()])?;
    storage.write(IDENTITY, &[pem(label, key.secret_der()).as_bytes(), chain.concat().as_bytes()])
}

/// The roots that were learnt before.
pub(crate) fn roots(storage: &Storage) -> Result<Vec<CertificateDer<'static>>, Error> {
    let Some(text) = storage.read(ROOTS)?.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let roots = certificates(&text, "the roots").and_then(|roots| {
        super::root_store(&roots)?;
        Ok(roots)
    });
    roots.map_err(|error| ignored(storage, ROOTS, error))
}

/// The identity that was kept, if it can still be offered: istiod fails the handshake of an expired or foreign one
/// instead of asking for the token (istio `pkg/spiffe/spiffe.go`).
pub(crate) fn identity(
    storage: &Storage,
    config: &Config,
    now: SystemTime,
) -> Result<Option<Identity>, Error> {
    let Some(text) = storage.read(IDENTITY)? else { return Ok(None) };
    let provider = config.crypto_provider()?;
    let identity = Identity::from_pem_pair(&text, &text, provider)
        .and_then(|identity| usable(&identity, config, now).map(|()| identity));
    identity.map(Some).map_err(|error| ignored(storage, IDENTITY, error))
}

/// Whether the certificate is this workload's, and lives.
fn usable(identity: &Identity, config: &Config, now: SystemTime) -> Result<(), Error> {
    let id = identity.spiffe_id();
    let ended = now.duration_since(identity.not_after());
    let foreign = id.namespace() != config.namespace
        || id.service_account() != config.service_account
        || config.trust_domain.as_ref().is_some_and(|domain| domain != id.trust_domain());
    let what = match ended {
        Ok(ago) => format!("the certificate of {id} ended {} ago", Rough(ago)),
        Err(_) if foreign => format!(
            "the certificate is {id}'s, not one of {}/{} in trust domain {}",
            config.namespace,
            config.service_account,
            config.trust_domain.as_deref().unwrap_or("(any)"),
        ),
        Err(_) => return Ok(()),
    };
    Err(Error::new(ErrorKind::Credentials, what))
}

fn ignored(storage: &Storage, name: &str, error: Error) -> Error {
    let message = format!("{} is not used", storage.path(name).display());
    Error::with_source(ErrorKind::Storage, message, error)
}

fn certificate(der: &CertificateDer<'_>) -> String {
    pem("CERTIFICATE", der)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
