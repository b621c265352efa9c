//! Authenticates clients: by the client certificate, or by a bearer token if the client sent no certificate (istio
//! `security/pkg/server/ca/authenticate`).

use tonic::Extensions;
use tonic::metadata::MetadataMap;

use super::Shared;
use crate::pki::spiffe;

/// The client of a TLS connection. The server adds this value as an extension to every HTTP request of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: std::net::SocketAddr,
    /// The identity in the verified client certificate; `None` if the client sent no certificate.
    pub(crate) identity: Option<String>,
}

/// An authenticated client.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) identity: String,
    /// The kind of credential that authenticated the client: `certificate` or `token`.
    pub(crate) proof: &'static str,
}

impl Shared {
    /// Returns the authenticated client, or the reason for the rejection, which istiod logs and does not send.
    pub(crate) fn authenticate(
        &self,
        metadata: &MetadataMap,
        extensions: &Extensions,
    ) -> Result<Caller, String> {
        if let Some(identity) = extensions.get::<Peer>().and_then(|peer| peer.identity.clone()) {
            return Ok(Caller { identity, proof: "certificate" });
        }
        let header = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        let token = token.ok_or("the client sent no certificate and no bearer token")?;
        let cluster = self.cluster(metadata)?;
        let account = self.tokens.review(token, &cluster)?;
        let identity = spiffe::identity(self.authority.trust_domain(), &account.namespace, &account.name);
        Ok(Caller { identity, proof: "token" })
    }

    /// Returns the cluster whose API server reviews the token: the value of the `clusterid` header if it occurs exactly
    /// once, else the config cluster (istio `security/pkg/server/ca/authenticate/kubeauth/kube_jwt.go`).
    fn cluster(&self, metadata: &MetadataMap) -> Result<String, String> {
        let snapshot = self.snapshots.borrow();
        let mut values = metadata.get_all("clusterid").iter();
        let named = match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(cluster), None) => cluster,
            _ => "",
        };
        if named.is_empty() {
            return Ok(snapshot.mesh.config_cluster.clone());
        }
        if !snapshot.mesh.networks.has_cluster(named) {
            return Err(format!("client claims to be in cluster {named:?}, which is unknown"));
        }
        Ok(named.to_owned())
    }
}
