//! `mesh.yaml`: one key, `defaultConfig`, which is Istio's `ProxyConfig` in YAML.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Problem;

/// What counts in it. Other keys are for Envoy.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ProxyConfig {
    pub(super) discovery_address: Option<String>,
    pub(super) proxy_metadata: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MeshConfig {
    default_config: Option<ProxyConfig>,
}

pub(super) fn parse(text: &str) -> Result<ProxyConfig, Problem> {
    if text.trim().is_empty() {
        return Ok(ProxyConfig::default());
    }
    let mesh: MeshConfig = serde_saphyr::from_str(text).map_err(|error| {
        let problem = Problem::new(format!("not a mesh configuration: {}", first_line(&error.to_string())));
        match error.location() {
            Some(location) => problem.at_line(usize::try_from(location.line()).unwrap_or(0)),
            None => problem,
        }
    })?;
    Ok(mesh.default_config.unwrap_or_default())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
