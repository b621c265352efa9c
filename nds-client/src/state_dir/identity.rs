//! The certificate and private key in the state directory.
//!
//! The token in the VM files is valid for an hour. A VM that restarts later joins with its last certificate. One file
//! contains certificate and key, so that they always match.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

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
    let all = |certificates: &[CertificateDer<'_>]| -> String {
        certificates.iter().map(|der| pem("CERTIFICATE", der).as_str().to_owned()).collect()
    };
    let chain = all(&identity.certified_key().cert);
    directory.write(ROOTS, &[all(discovered).as_bytes()])?;
    directory.write(IDENTITY, &[pem(label, key.secret_der()).as_bytes(), chain.as_bytes()])
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

/// Encodes a section in PEM. The text can be a private key, so it is erased when it is dropped, and it is written into
/// one buffer, so that no copy of it stays behind.
fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    const LINE: usize = 64;
    let text = Zeroizing::new(STANDARD.encode(der));
    let (begin, end) = (format!("-----BEGIN {label}-----\n"), format!("-----END {label}-----\n"));
    let length = begin.len() + text.len() + text.len().div_ceil(LINE) + end.len();
    let mut pem = Zeroizing::new(String::with_capacity(length));
    pem.push_str(&begin);
    let mut rest = &**text;
    while !rest.is_empty() {
        // Base64 is ASCII.
        let (line, next) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = next;
    }
    pem.push_str(&end);
    debug_assert_eq!(pem.len(), length, "the buffer was not reallocated");
    pem
}
