//! One of the two servers, for scripts that run against both.

use mesh_tests::ads::{Credentials, NodeBuilder, Server, Stream};
use xds_proto::{envoy::service::discovery::v3::DeltaDiscoveryResponse, type_url};

use crate::both::{Imitation, Real};

/// A server and its mesh.
pub(crate) enum Side {
    Real(Box<Real>),
    Imitation(Box<Imitation>),
}

/// The name of an object.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Named<'_> {
    /// Returns the name as YAML, in the form that the real istiod requires.
    pub(crate) fn yaml(&self) -> String {
        let Self { api_version, kind, namespace, name, .. } = self;
        format!(
            "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace:?}}}\n"
        )
    }
}

impl Side {
    pub(crate) fn server(&self) -> &Server {
        match self {
            Self::Real(real) => &real.server,
            Self::Imitation(imitation) => &imitation.server,
        }
    }

    /// Returns the credentials with which a node connects.
    pub(crate) fn credentials(&self, node: &NodeBuilder) -> Credentials {
        match self {
            Self::Real(real) => real.credentials(node),
            Self::Imitation(imitation) => imitation.credentials(node),
        }
    }

    pub(crate) async fn stream(&self) -> Stream {
        self.server().stream(&self.credentials(&NodeBuilder::default())).await
    }

    /// Opens a stream, subscribes to these types (for endpoints, to these clusters), and receives and acknowledges the
    /// responses.
    pub(crate) async fn subscribed(&self, kinds: &[&str], clusters: &[&str]) -> Stream {
        let mut stream = self.stream().await;
        let node = NodeBuilder::default().build();
        stream.introduce(&node, type_url::NAME_TABLE).await;
        let response = stream.next().await;
        stream.ack(&response).await;
        for kind in kinds.iter().filter(|kind| **kind != type_url::NAME_TABLE) {
            let names = if *kind == type_url::ENDPOINT { clusters } else { &[] };
            stream.subscribe(kind, names).await;
            let response = stream.next_of(kind).await;
            stream.ack(&response).await;
        }
        stream
    }

    pub(crate) async fn apply(&mut self, cluster: &str, yaml: &str) {
        match self {
            Self::Real(real) => real.command("apply", cluster, yaml).await,
            Self::Imitation(imitation) => imitation.sandbox.apply(cluster, yaml).expect("YAML of the test"),
        }
    }

    /// Applies an object. The error is the reason for its rejection.
    pub(crate) async fn try_apply(&mut self, cluster: &str, yaml: &str) -> Result<(), String> {
        match self {
            Self::Real(real) => real.attempt("apply", cluster, yaml).await,
            Self::Imitation(imitation) => {
                imitation.sandbox.apply(cluster, yaml).map_err(|error| error.to_string())
            }
        }
    }

    pub(crate) async fn delete(&mut self, object: Named<'_>) {
        let Named { cluster, kind, namespace, name, .. } = object;
        match self {
            Self::Real(real) => real.command("delete", cluster, &object.yaml()).await,
            Self::Imitation(imitation) => {
                imitation.sandbox.delete(cluster, kind, namespace, name).expect("an object of the test");
            }
        }
    }
}

/// Describes a response without the parts that differ between runs.
pub(crate) fn describe(response: &DeltaDiscoveryResponse) -> String {
    let mut names: Vec<_> = response.resources.iter().map(|it| format!("{:?}", it.name)).collect();
    names.sort();
    let versions = response.resources.iter().filter(|it| !it.version.is_empty()).count();
    let mut removed = response.removed_resources.clone();
    removed.sort();
    let presence = |text: &str| if text.is_empty() { "without" } else { "with" };
    format!(
        "{} [{}], {versions} versions, removed {removed:?}, {} nonce, {} system version",
        short(&response.type_url),
        names.join(" "),
        presence(&response.nonce),
        presence(&response.system_version_info)
    )
}

/// Returns the last part of a type URL.
pub(crate) fn short(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or(kind)
}

/// Describes all responses.
pub(crate) fn describe_all(responses: &[DeltaDiscoveryResponse]) -> Vec<String> {
    responses.iter().map(describe).collect()
}
