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
        let what = || invalid(&format!("the header {name:?}"));
        let key: MetadataKey<_> = name.parse().map_err(|_| what())?;
        // The value is sensitive: a configured header usually authenticates this client to a proxy.
        let mut value: MetadataValue<_> = value.parse().map_err(|_| what())?;
        value.set_sensitive(true);
        metadata.insert(key, value);
    }
    if let Credentials::Token(token) = credentials {
        let mut bearer: MetadataValue<_> = token.bearer().parse().map_err(|_| invalid("the token"))?;
        bearer.set_sensitive(true);
        metadata.insert("authorization", bearer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::identity::Token;

    async fn token() -> Credentials {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "SECRET.TOKEN.text").unwrap();
        Credentials::Token(Token::read(file.path()).await.unwrap().into())
    }

    #[tokio::test]
    async fn headers_with_credentials_are_not_printed() {
        let mut request = tonic::Request::new(());
        let extra = [("x-proxy-key".to_owned(), "SECRET".to_owned())];
        authorize(&mut request, &token().await, "cluster1", &extra).unwrap();
        assert_eq!(request.metadata().get("x-proxy-key").unwrap().to_str().unwrap(), "SECRET");
        assert_eq!(
            request.metadata().get("authorization").unwrap().to_str().unwrap(),
            "Bearer SECRET.TOKEN.text"
        );
        assert!(!format!("{request:?}").contains("SECRET"), "{request:?}");
    }

    #[tokio::test]
    async fn the_error_of_an_invalid_header_contains_its_name_and_not_its_value() {
        let mut request = tonic::Request::new(());
        for (name, value) in [("x-key", "SECRET\n"), ("x key", "SECRET")] {
            let extra = [(name.to_owned(), value.to_owned())];
            let error = authorize(&mut request, &token().await, "cluster1", &extra).unwrap_err();
            assert!(error.to_string().contains(&name.replace('\n', "")), "{error}");
            assert!(!error.report().contains("SECRET"), "{}", error.report());
        }
    }
}
