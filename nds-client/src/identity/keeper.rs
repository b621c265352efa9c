//! Gets the first certificate and renews it, for as long as the client lives.

use std::{sync::Arc, time::SystemTime};

use rustls_pki_types::CertificateDer;

use super::{Token, renewal_delay};
use crate::{
    Error, ErrorKind, Identity,
    backoff::Backoff,
    istiod::{Credentials, ca, is_certificate_refused},
    state::State,
};

/// Runs until it is dropped.
pub(crate) async fn run(state: Arc<State>) {
    let mut backoff = Backoff::default();
    let mut current: Option<Arc<Identity>> = None;
    for epoch in 1.. {
        let issued = loop {
            match issue(&state, current.as_ref()).await {
                Ok(identity) => break identity,
                Err(error) => {
                    let wait = backoff.next(fastrand::f64());
                    tracing::warn!(error = error.report(), ?wait, "no certificate from istiod's CA");
                    state.set_health(|health| health.identity = Some(error));
                    tokio::time::sleep(wait).await;
                }
            }
        };
        backoff.reset();
        let identity = Arc::new(issued.with_epoch(epoch));
        let wait = renewal_delay(identity.remaining(SystemTime::now()), fastrand::f64());
        tracing::info!(spiffe_id = %identity.spiffe_id(), epoch, renewal_in = ?wait, "certificate issued");
        state.identity.publish(Arc::new(Some(identity.clone())));
        state.set_health(|health| health.identity = None);
        current = Some(identity);
        tokio::time::sleep(wait).await;
    }
}

/// With the certificate at hand, else with the token.
async fn issue(state: &State, current: Option<&Arc<Identity>>) -> Result<Identity, Error> {
    let config = &state.config;
    let roots = known_roots(state, current);
    if let Some(identity) = current.filter(|identity| !identity.remaining(SystemTime::now()).is_zero()) {
        match ca::issue(config, &Credentials::Certificate(identity.clone()), &roots).await {
            Err(error) if is_certificate_refused(&error) || error.kind() == ErrorKind::Unauthenticated => {
                tracing::warn!(error = error.report(), "istiod refuses the certificate; trying the token");
            }
            result => return result,
        }
    }
    let file = config.token_file().ok_or_else(|| {
        Error::new(ErrorKind::Credentials, "there is no certificate that can be used, and no token")
    })?;
    ca::issue(config, &Credentials::Token(Arc::new(Token::read(file)?)), &roots).await
}

/// The roots of the configuration and those of the last issuance.
fn known_roots(state: &State, current: Option<&Arc<Identity>>) -> Vec<CertificateDer<'static>> {
    let issued = current.map(|identity| identity.root_certificates()).unwrap_or_default();
    state.config.roots.iter().chain(issued).cloned().collect()
}
