//! Stores the TLS sessions of one configuration, and limits how long they may be resumed.
//!
//! A resumed handshake does not verify the certificate of the peer again. A session therefore ends when that certificate
//! expires, and at the latest [`MAX_AGE`] after the last handshake that verified it.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustls::{
    ClientConfig, NamedGroup,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::{CertificateDer, ServerName},
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The maximum number of stored TLS 1.3 tickets. Each ticket is used only once.
const MAX_TICKETS: usize = 8;

/// The time after which a peer is verified again, although its certificate is still valid.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The TLS sessions of one client configuration, which is used for one server name.
#[derive(Default)]
pub(super) struct Sessions(Mutex<State>);

#[derive(Default)]
struct State {
    key_exchange: Option<NamedGroup>,
    tls12: Option<Session<Tls12ClientSessionValue>>,
    tickets: VecDeque<Session<Tls13ClientSessionValue>>,
}

struct Session<T> {
    value: T,
    verification: Arc<Verification>,
}

/// When the peer of a connection was verified, and when its certificate expires. Times are Unix seconds.
#[derive(Debug)]
struct Verification {
    /// The time of the handshake that verified the peer. A resumed connection uses the time from the session that it
    /// resumes.
    at: AtomicU64,
    /// The time at which the certificate of the peer expires. 0 until the handshake is complete.
    expires: AtomicU64,
}

/// The session store that one connection uses. It records for each new session when the peer of the connection was
/// verified.
pub(crate) struct ConnectionSessions {
    sessions: Arc<Sessions>,
    verification: Arc<Verification>,
    config: Arc<ClientConfig>,
}

impl ConnectionSessions {
    /// Returns the configuration of one connection, which resumes and stores `sessions`.
    pub(super) fn configure(
        sessions: &Arc<Sessions>,
        config: &Arc<ClientConfig>,
    ) -> (Arc<Self>, ClientConfig) {
        let verification = Verification { at: AtomicU64::new(now(config)), expires: AtomicU64::new(0) };
        let this = Arc::new(Self {
            sessions: sessions.clone(),
            verification: Arc::new(verification),
            config: config.clone(),
        });
        let mut config = ClientConfig::clone(config);
        config.resumption = Resumption::store(this.clone());
        (this, config)
    }

    /// Records the certificate of the peer after the handshake. From now on, sessions of the connection can be resumed
    /// until this certificate expires.
    pub(crate) fn complete(&self, leaf: Option<&CertificateDer<'_>>) {
        self.verification.expires.store(leaf.and_then(expiry).unwrap_or_default(), Relaxed);
    }

    fn session<T>(&self, value: T) -> Session<T> {
        Session { value, verification: self.verification.clone() }
    }

    /// Returns the TLS state of a session. `None` if the peer must be verified again.
    fn resume<T>(&self, session: Session<T>) -> Option<T> {
        let at = session.verification.is_valid(now(&self.config))?;
        self.verification.at.fetch_min(at, Relaxed);
        Some(session.value)
    }
}

impl Verification {
    /// Returns the time at which the peer was verified. `None` if the peer must be verified again.
    fn is_valid(&self, now: u64) -> Option<u64> {
        let at = self.at.load(Relaxed);
        // If the clock was set back, the age is unknown, and the peer is verified again.
        let age = now.checked_sub(at)?;
        (age < MAX_AGE.as_secs() && now < self.expires.load(Relaxed)).then_some(at)
    }
}

impl ClientSessionStore for ConnectionSessions {
    fn set_kx_hint(&self, _server_name: ServerName<'static>, group: NamedGroup) {
        self.sessions.0.lock().key_exchange = Some(group);
    }

    fn kx_hint(&self, _server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.0.lock().key_exchange
    }

    fn set_tls12_session(&self, _server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.sessions.0.lock().tls12 = Some(self.session(value));
    }

    fn tls12_session(&self, _server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let mut state = self.sessions.0.lock();
        let session = state.tls12.take()?;
        let (value, verification) = (session.value.clone(), session.verification.clone());
        let resumed = self.resume(session)?;
        state.tls12 = Some(Session { value, verification });
        Some(resumed)
    }

    fn remove_tls12_session(&self, _server_name: &ServerName<'static>) {
        self.sessions.0.lock().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut state = self.sessions.0.lock();
        if state.tickets.len() >= MAX_TICKETS {
            state.tickets.pop_front();
        }
        state.tickets.push_back(self.session(value));
    }

    fn take_tls13_ticket(&self, _server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let tickets = &mut self.sessions.0.lock().tickets;
        while let Some(session) = tickets.pop_back() {
            if let Some(value) = self.resume(session) {
                return Some(value);
            }
        }
        None
    }
}

fn now(config: &ClientConfig) -> u64 {
    // Without a current time, no session is valid. Certificates cannot be verified then either.
    config.time_provider.current_time().map_or(u64::MAX, |now| now.as_secs())
}

fn expiry(leaf: &CertificateDer<'_>) -> Option<u64> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    u64::try_from(leaf.validity().not_after.timestamp()).ok()
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("tickets", &self.0.lock().tickets.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionSessions").field("verification", &self.verification).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_when_the_certificate_expires_or_the_maximum_age_is_reached() {
        let of = |at, expires| Verification { at: AtomicU64::new(at), expires: AtomicU64::new(expires) };
        let hour = MAX_AGE.as_secs();
        assert_eq!(of(1000, 2000).is_valid(1999), Some(1000));
        assert_eq!(of(1000, 2000).is_valid(2000), None);
        assert_eq!(of(1000, u64::MAX).is_valid(1000 + hour - 1), Some(1000));
        assert_eq!(of(1000, u64::MAX).is_valid(1000 + hour), None);
        // The handshake is not complete; the clock was set back.
        assert_eq!(of(1000, 0).is_valid(1000), None);
        assert_eq!(of(1000, 2000).is_valid(999), None);
    }
}
