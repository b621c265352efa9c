//! A certificate and its key in the state folder.
//!
//! The token of the VM files lives an hour; a VM that starts again later joins with the certificate it had. One file holds
//! both, so that they always belong together.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::folder::Folder;
use crate::{
    config::Config,
    duration::Rough,
    error::{Error, ErrorKind},
    identity::{Identity, certificates, root_store},
    runtime::Runtime,
};

const IDENTITY: &str = "identity.pem";
const ROOTS: &str = "roots.pem";

/// Writes the identity, and the roots that the configuration does not bring.
pub(super) fn store(
    folder: &Folder,
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
    folder.write(ROOTS, &[roots.concat().as_bytes()])?;
    folder.write(IDENTITY, &[pem(label, key.secret_der()).as_bytes(), chain.concat().as_bytes()])
}

/// The roots that an earlier run discovered.
pub(super) fn roots(folder: &Folder) -> Result<Vec<CertificateDer<'static>>, Error> {
    let Some(text) = folder.read(ROOTS)?.filter(|text| !text.is_empty()) else {
        return Ok(Vec::new());
    };
    let roots = certificates(&text, "the roots").and_then(|roots| {
        root_store(&roots)?;
        Ok(roots)
    });
    roots.map_err(|error| ignored(folder, ROOTS, error))
}

/// The identity of an earlier run, if it can still be presented: istiod fails the handshake of an expired or foreign one
/// instead of asking for the token (istio `pkg/spiffe/spiffe.go`).
pub(super) fn load(folder: &Folder, runtime: &Runtime) -> Result<Option<Identity>, Error> {
    let Some(text) = folder.read(IDENTITY)? else { return Ok(None) };
    let identity = Identity::from_pem_pair(&text, &text, runtime.provider.clone())
        .and_then(|identity| usable(&identity, &runtime.config, runtime.now()).map(|()| identity));
    identity.map(Some).map_err(|error| ignored(folder, IDENTITY, error))
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

fn ignored(folder: &Folder, name: &str, error: Error) -> Error {
    let message = format!("{} is not used", folder.path(name).display());
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
