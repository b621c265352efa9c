//! Who is calling (facts B.5): a client certificate if there is one, else a bearer token.

use tonic::Extensions;
use tonic::metadata::MetadataMap;

use super::Shared;
use crate::pki::spiffe;

/// What the TLS connection knows of its client. An extension of every request.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: std::net::SocketAddr,
    /// The identity in the verified client certificate.
    pub(crate) identity: Option<String>,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) identity: String,
    /// `certificate` or `token`.
    pub(crate) proof: &'static str,
}

impl Shared {
    /// The caller, or the reason that istiod logs and does not tell.
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
        let token = token.ok_or("no client certificate and no bearer token")?;
        let cluster = self.cluster(metadata)?;
        let account = self.tokens.review(token, &cluster)?;
        let identity = spiffe::identity(self.authority.trust_domain(), &account.namespace, &account.name);
        Ok(Caller { identity, proof: "token" })
    }

    /// The cluster whose API server reviews the token: the `clusterid` header if it is there exactly once
    /// (facts B.1).
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
