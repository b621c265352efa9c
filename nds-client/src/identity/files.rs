//! A certificate in files that something else renews: a SPIRE agent, cert-manager, Istio's own agent.

use std::{fs, hash::BuildHasher as _, path::PathBuf, sync::Arc, time::Duration};

use foldhash::fast::FixedState;
use rustls::crypto::CryptoProvider;

use super::certificates;
use crate::{Error, ErrorKind, Identity, duration::Rough, observe, state::State};

/// Where the chain (leaf first), the key and the roots of the mesh are, in PEM.
#[derive(Clone, Debug)]
pub(crate) struct CertificateFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) roots: Option<PathBuf>,
}

/// How often the files are looked at. Content counts, not the time of change: a renewal may be a renamed folder.
const LOOK: Duration = Duration::from_secs(5);

/// What was in the files at one moment.
#[derive(Hash)]
struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
    roots: Vec<u8>,
}

impl CertificateFiles {
    fn read(&self) -> Result<Contents, Error> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| {
                let message = format!("certificate file {} cannot be read", path.display());
                Error::with_source(ErrorKind::Credentials, message, error)
            })
        };
        Ok(Contents {
            chain: read(&self.chain)?,
            key: read(&self.key)?,
            roots: self.roots.as_ref().map(read).transpose()?.unwrap_or_default(),
        })
    }

    /// The identity that is in the files now, without roots.
    pub(crate) fn identity(&self, provider: Arc<CryptoProvider>) -> Result<Identity, Error> {
        let contents = self.read()?;
        Identity::from_pem_pair(&contents.chain, &contents.key, provider).map_err(|error| self.named(error))
    }

    fn named(&self, error: Error) -> Error {
        let files = format!("certificate files {} and {}", self.chain.display(), self.key.display());
        Error::with_source(error.kind(), format!("{files}: {error}"), error)
    }
}

/// Runs until it is dropped.
pub(super) async fn watch(state: &State, files: &CertificateFiles) {
    let mut used = None;
    let mut failures = 0u32;
    let mut warned = None;
    loop {
        match files.read().and_then(|contents| take(state, &mut used, &contents)) {
            Ok(()) => {
                failures = 0;
                let current = state.identity.get();
                let ended = current.as_ref().and_then(|identity| ended(state, identity));
                // Others are not woken for what they know.
                if ended.is_some() || state.health.load().identity.is_some() {
                    state.set_health(|health| health.identity = ended);
                }
                if let Some(identity) = current {
                    warn_before_end(state, &identity, &mut warned);
                }
            }
            Err(error) => {
                failures += 1;
                // The files may be in the middle of being replaced: only the second time it is a failure, unless there
                // is nothing to go on with.
                if failures > 1 || used.is_none() {
                    let error = files.named(error);
                    if failures <= 2 {
                        tracing::warn!(error = error.report(), "the certificate files cannot be used");
                    }
                    state.set_health(|health| health.identity = Some(error));
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Puts the contents into use, where they are new, whole and good.
fn take(state: &State, used: &mut Option<u64>, contents: &Contents) -> Result<(), Error> {
    let fingerprint = FixedState::with_seed(0).hash_one(contents);
    if *used == Some(fingerprint) {
        return Ok(());
    }
    let identity = Identity::from_pem_pair(&contents.chain, &contents.key, state.config.crypto_provider()?)?;
    if let Some(error) = ended(state, &identity) {
        return Err(error);
    }
    let roots = match &contents.roots[..] {
        [] => Vec::new(),
        pem => certificates(pem, "the roots")?,
    };
    let identity = state.identity.replace(identity, roots)?;
    tracing::info!(spiffe_id = %identity.spiffe_id(), epoch = identity.epoch(), "certificate read from files");
    state.set_health(|health| health.certificate_ends = Some(identity.not_after()));
    *used = Some(fingerprint);
    Ok(())
}

/// Tells the end, and once for each certificate that it is near: whatever renews the files has not done so.
fn warn_before_end(state: &State, identity: &Identity, warned: &mut Option<u64>) {
    let now = state.config.clock.now();
    observe::certificate_ends(identity.not_after(), now);
    let lifetime = identity.not_after().duration_since(identity.not_before()).unwrap_or_default();
    let remaining = identity.remaining(now);
    if remaining <= lifetime / 10 && *warned != Some(identity.epoch()) {
        *warned = Some(identity.epoch());
        tracing::warn!(spiffe_id = %identity.spiffe_id(), ?remaining, "the certificate in the files ends soon");
    }
}

fn ended(state: &State, identity: &Identity) -> Option<Error> {
    let ago = state.config.clock.now().duration_since(identity.not_after()).ok()?;
    let message =
        format!("the certificate of {} ended {} ago and was not renewed", identity.spiffe_id(), Rough(ago));
    Some(Error::new(ErrorKind::Unauthenticated, message))
}
