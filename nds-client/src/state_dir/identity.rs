//! The certificate and private key in the state directory.
//!
//! The token in the VM files is valid for an hour. A VM that restarts later joins with its last certificate. One file
//! contains certificate and key, so that they always match.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::directory::Directory;
use crate::{
    config::Config,
    duration::HumanDuration,
    error::{Error, ErrorKind},
    identity::{Identity, certificates, root_store},
    runtime::Runtime,
};

const IDENTITY: &str = "identity.pem";
const ROOTS: &str = "roots.pem";

/// Writes the identity and the roots that are not in the configuration (`discovered`).
pub(super) fn store(
    directory: &Directory,
    identity: &Identity,
    discovered: &[CertificateDer<'static>],
) -> Result<(), Error> {
    let key = identity.key();
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let chain: Vec<_> = identity.certified_key().cert.iter().map(certificate).collect();
    let roots: Vec<_> = discovered.iter().map(certificate).collect();
    directory.write(ROOTS, &[roots.concat().as_bytes()])?;
    directory.write(IDENTITY, &[pem(label, key.secret_der()).as_bytes(), chain.concat().as_bytes()])
}

/// Returns the persisted roots; an empty list if there are none.
pub(super) fn roots(directory: &Directory) -> Result<Vec<CertificateDer<'static>>, Error> {
    let Some(text) = directory.read(ROOTS)?.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let roots = certificates(&text, "the roots").and_then(|roots| {
        root_store(&roots)?;
        Ok(roots)
    });
    roots.map_err(|error| ignored(directory, ROOTS, error))
}

/// Returns the persisted identity; `None` if there is none. An identity that istiod would reject is an error: istiod
/// rejects an expired certificate, or one of another mesh, in the TLS handshake and does not fall back to a token
/// (istio `pkg/spiffe/spiffe.go`).
pub(super) fn load(directory: &Directory, runtime: &Runtime) -> Result<Option<Identity>, Error> {
    let Some(text) = directory.read(IDENTITY)? else { return Ok(None) };
    let identity = Identity::from_pem_pair(&text, &text, runtime.provider.clone())
        .and_then(|identity| usable(&identity, &runtime.config, runtime.now()).map(|()| identity));
    identity.map(Some).map_err(|error| ignored(directory, IDENTITY, error))
}

/// Checks that the certificate is valid and belongs to this workload.
fn usable(identity: &Identity, config: &Config, now: SystemTime) -> Result<(), Error> {
    let id = identity.spiffe_id();
    let expired = now.duration_since(identity.not_after());
    let foreign = id.namespace() != config.namespace
        || id.service_account() != config.service_account
        || config.trust_domain.as_ref().is_some_and(|domain| domain != id.trust_domain());
    let what = match expired {
        Ok(ago) => format!("the certificate of {id} expired {} ago", HumanDuration(ago)),
        Err(_) if foreign => format!(
            "the certificate belongs to {id}, not to {}/{} in trust domain {}",
            config.namespace,
            config.service_account,
            config.trust_domain.as_deref().unwrap_or("(any)"),
        ),
        Err(_) => return Ok(()),
    };
    Err(Error::new(ErrorKind::Credentials, what))
}

fn ignored(directory: &Directory, name: &str, error: Error) -> Error {
    let message = format!("{} is ignored", directory.path(name).display());
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
