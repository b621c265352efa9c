//! Request headers of calls to istiod.

use tonic::metadata::{MetadataKey, MetadataValue};

use crate::{
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
};

/// Adds the headers of a call: cluster ID, token if it is used, and `extra`.
pub(crate) fn authorize<T>(
    request: &mut tonic::Request<T>,
    credentials: &Credentials,
    cluster_id: &str,
    extra: &[(String, String)],
) -> Result<(), Error> {
    let metadata = request.metadata_mut();
    let invalid = |what: &str| {
        Error::new(ErrorKind::Config, format!("{what} is not a valid HTTP header: correct the configuration"))
    };
    // istiod reads the cluster ID from this header (istio `kubeauth/kube_jwt.go`).
    metadata.insert("clusterid", cluster_id.parse().map_err(|_| invalid("the cluster ID"))?);
    for (name, value) in extra {
        let name: MetadataKey<_> = name.parse().map_err(|_| invalid(name))?;
        metadata.insert(name, value.parse().map_err(|_| invalid(value))?);
    }
    if let Credentials::Token(token) = credentials {
        let mut bearer: MetadataValue<_> = token.bearer().parse().map_err(|_| invalid("the token"))?;
        bearer.set_sensitive(true);
        metadata.insert("authorization", bearer);
    }
    Ok(())
}
