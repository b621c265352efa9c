//! Parses `mesh.yaml`, whose key `defaultConfig` contains Istio's `ProxyConfig`.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};

use crate::error::ConfigProblem;

/// The keys of `ProxyConfig` that this client uses. The other keys are for Envoy.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ProxyConfig {
    pub(super) discovery_address: Option<String>,
    pub(super) proxy_metadata: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MeshConfig {
    default_config: Option<ProxyConfig>,
}

pub(super) fn parse(text: &str) -> Result<ProxyConfig, ConfigProblem> {
    let mesh: MeshConfig = read(text, "a mesh configuration")?;
    Ok(mesh.default_config.unwrap_or_default())
}

/// Parses a `ProxyConfig` without the surrounding file: the variable `PROXY_CONFIG` or the annotation
/// `proxy.istio.io/config`.
pub(super) fn parse_proxy_config(text: &str) -> Result<ProxyConfig, ConfigProblem> {
    read(text, "a proxy configuration")
}

fn read<T: Default + DeserializeOwned>(text: &str, what: &str) -> Result<T, ConfigProblem> {
    let read = serde_saphyr::from_str::<Option<T>>(text).map(Option::unwrap_or_default);
    read.map_err(|error| {
        let problem = ConfigProblem::new(format!("not {what}: {}", first_line(&error.to_string())));
        match error.location() {
            Some(location) => problem.at_line(usize::try_from(location.line()).unwrap_or(0)),
            None => problem,
        }
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
