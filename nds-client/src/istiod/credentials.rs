//! What to show istiod.

use std::sync::Arc;

use tonic::metadata::{MetadataKey, MetadataValue};

use crate::{Error, ErrorKind, Identity, identity::Token};

/// What to show istiod.
#[derive(Clone, Debug)]
pub(crate) enum Credentials {
    /// A client certificate. One that istiod does not like fails the handshake, without a second chance by token.
    Certificate(Arc<Identity>),
    /// The token, read anew.
    Token(Arc<Token>),
}

impl Credentials {
    /// Which kind, for whoever reads logs.
    pub(crate) fn as_label(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::Token(_) => "token",
        }
    }

    /// The headers for a call: the cluster, the token where there is one, and `extra`.
    pub(crate) fn authorize<T>(
        &self,
        request: &mut tonic::Request<T>,
        cluster_id: &str,
        extra: &[(String, String)],
    ) -> Result<(), Error> {
        let metadata = request.metadata_mut();
        let invalid =
            |what: &str| Error::new(ErrorKind::Config, format!("{what} cannot be sent as a header"));
        // The key under which istiod looks for it (istio `kubeauth/kube_jwt.go`).
        metadata.insert("clusterid", cluster_id.parse().map_err(|_| invalid("the cluster id"))?);
        for (name, value) in extra {
            let name: MetadataKey<_> = name.parse().map_err(|_| invalid(name))?;
            metadata.insert(name, value.parse().map_err(|_| invalid(value))?);
        }
        if let Self::Token(token) = self {
            let mut bearer: MetadataValue<_> = token.bearer().parse().map_err(|_| invalid("the token"))?;
            bearer.set_sensitive(true);
            metadata.insert("authorization", bearer);
        }
        Ok(())
    }

    pub(crate) fn who(&self) -> String {
        match self {
            Self::Certificate(identity) => identity.spiffe_id().to_string(),
            Self::Token(_) => "the token's bearer".to_owned(),
        }
    }
}
