//! Service account tokens: what Kubernetes' TokenRequest gives and what TokenReview says about them (facts B.5).

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;

/// The audience that istiod asks for (facts B.5).
const AUDIENCE: &str = "istio-ca";
/// The lifetime that istioctl asks for (facts A.1).
const LIFETIME: Duration = Duration::from_secs(3600);

/// How a token is made. The default is what istioctl asks for: audience `istio-ca`, one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenOptions {
    audience: String,
    expires_in: Duration,
    cluster: Option<String>,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self { audience: AUDIENCE.to_owned(), expires_in: LIFETIME, cluster: None }
    }
}

impl TokenOptions {
    /// The audience, `aud`.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// The cluster whose API server makes it, and which alone knows it: what header `clusterid` has to name. The config
    /// cluster if nothing is said.
    #[must_use]
    pub fn with_cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = Some(cluster.into());
        self
    }

    /// The lifetime; zero makes a token that has already expired.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.expires_in = lifetime;
        self
    }
}

/// Who a token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

#[derive(Debug)]
struct Claims {
    account: Account,
    cluster: String,
    audience: String,
    expires: SystemTime,
}

/// The API servers of all clusters, as far as tokens go: each knows the tokens it has issued.
#[derive(Debug, Default)]
pub(crate) struct TokenIssuer {
    issued: Mutex<HashMap<String, Claims>>,
}

impl TokenIssuer {
    /// A token of the API server of the cluster that the options name, else of `cluster`.
    pub(crate) fn issue(&self, cluster: &str, account: Account, options: &TokenOptions) -> String {
        let cluster = options.cluster.as_deref().unwrap_or(cluster);
        let now = SystemTime::now();
        let expires = now + options.expires_in;
        let header = json!({ "alg": "RS256", "kid": format!("{cluster}-sandbox") });
        let payload = json!({
            "aud": [options.audience],
            "exp": seconds(expires),
            "iat": seconds(now),
            "iss": "https://kubernetes.default.svc.cluster.local",
            "kubernetes.io": {
                "namespace": account.namespace,
                "serviceaccount": { "name": account.name, "uid": format!("{:032x}", fastrand::u128(..)) },
            },
            "nbf": seconds(now),
            "sub": format!("system:serviceaccount:{}:{}", account.namespace, account.name),
        });
        // No one but this issuer checks the signature, and it does so by remembering: random bytes are as good.
        let signature: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(256).collect();
        let token = format!(
            "{}.{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(payload.to_string()),
            URL_SAFE_NO_PAD.encode(signature)
        );
        let claims =
            Claims { account, cluster: cluster.to_owned(), audience: options.audience.clone(), expires };
        self.issued.lock().insert(token.clone(), claims);
        token
    }

    /// Forgets every token issued so far: none of them is good any more.
    pub(crate) fn revoke_all(&self) {
        self.issued.lock().clear();
    }

    /// What TokenReview of `cluster` says. The reason of a refusal stays here: istiod does not pass it on.
    pub(crate) fn review(&self, token: &str, cluster: &str) -> Result<Account, String> {
        let issued = self.issued.lock();
        let claims = issued.get(token).ok_or("the token was not issued here")?;
        if claims.cluster != cluster {
            return Err(format!("the token is of {}, not of {cluster}", claims.cluster));
        }
        if claims.audience != AUDIENCE {
            return Err(format!("the token's audience is {}, not {AUDIENCE}", claims.audience));
        }
        if claims.expires <= SystemTime::now() {
            return Err("the token has expired".to_owned());
        }
        Ok(claims.account.clone())
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Account, TokenIssuer, TokenOptions};

    fn account() -> Account {
        Account { namespace: "vms".to_owned(), name: "edge-app".to_owned() }
    }

    #[test]
    fn a_token_names_its_account_at_its_own_cluster_only() {
        let issuer = TokenIssuer::default();
        let token = issuer.issue("cluster1", account(), &TokenOptions::default());
        assert_eq!(issuer.review(&token, "cluster1"), Ok(account()));
        assert!(issuer.review(&token, "cluster2").is_err());
        assert!(issuer.review("a.b.c", "cluster1").is_err());
    }

    #[test]
    fn expiry_and_audience_are_checked() {
        let issuer = TokenIssuer::default();
        let expired = TokenOptions::default().with_lifetime(Duration::ZERO);
        let foreign = TokenOptions::default().with_audience("vault");
        for options in [expired, foreign] {
            let token = issuer.issue("cluster1", account(), &options);
            assert!(issuer.review(&token, "cluster1").is_err(), "{options:?}");
        }
    }
}
