//! Service account tokens: Kubernetes' TokenRequest and TokenReview (istio
//! `security/pkg/server/ca/authenticate/kubeauth/kube_jwt.go`).

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::json;

/// The audience that istiod requires (istio `pkg/security/security.go`).
const AUDIENCE: &str = "istio-ca";
/// The lifetime that istioctl requests (istio `istioctl/pkg/workload/workload.go`).
const LIFETIME: Duration = Duration::from_secs(3600);

/// The options of a service account token. The defaults are the same as in istioctl: audience `istio-ca`, lifetime one
/// hour.
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
    /// Sets the audience of the token (claim `aud`).
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into();
        self
    }

    /// Sets the cluster whose API server issues the token. Only this API server accepts the token, so a request with
    /// the token must name the cluster in the header `clusterid`. The default is the config cluster.
    #[must_use]
    pub fn with_cluster(mut self, cluster: impl Into<String>) -> Self {
        self.cluster = Some(cluster.into());
        self
    }

    /// Sets the lifetime. Zero creates an expired token.
    #[must_use]
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.expires_in = lifetime;
        self
    }
}

/// The service account of a token.
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

/// The API servers of all Kubernetes clusters, of which only tokens are modelled. Each API server accepts only the
/// tokens that it has issued.
#[derive(Debug, Default)]
pub(crate) struct TokenIssuer {
    issued: Mutex<HashMap<String, Claims>>,
}

impl TokenIssuer {
    /// Issues a token as the API server of the cluster in `options`. If `options` contains no cluster, uses the API
    /// server of `cluster`.
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
        // The issuer stores all tokens and nobody else verifies the signature, so random bytes are sufficient.
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

    /// Revokes every token issued so far.
    pub(crate) fn revoke_all(&self) {
        self.issued.lock().clear();
    }

    /// Reviews a token as the API server of `cluster` does. The error is the reason of a rejection, which istiod does
    /// not send to the client.
    pub(crate) fn review(&self, token: &str, cluster: &str) -> Result<Account, String> {
        let issued = self.issued.lock();
        let claims = issued.get(token).ok_or("the API server has not issued this token")?;
        if claims.cluster != cluster {
            return Err(format!(
                "the token was issued by the API server of {}, not of {cluster}",
                claims.cluster
            ));
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
    fn only_the_issuing_cluster_accepts_a_token() {
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
