//! The state of the API servers of all clusters: the objects of the folder, with all later changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::dns::hosts::Hosts;
use crate::error::{Error, Result};
use crate::model::{Mesh, Objects, VipAllocator};
use crate::yaml::mesh_config::MeshConfig;
use crate::yaml::mesh_networks::MeshNetworks;
use crate::yaml::{Folder, Key, Manifest, read};

/// The current objects, and the contents of the folder at the last read.
#[derive(Debug)]
pub(crate) struct State {
    config: MeshConfig,
    objects: Objects,
    upstream: Hosts,
    networks: MeshNetworks,
    folder: Folder,
    vips: VipAllocator,
}

/// The objects that a change adds, changes or removes, as `kind namespace/name`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Difference {
    /// The new and changed objects.
    pub(crate) changed: Vec<String>,
    /// The removed objects.
    pub(crate) removed: Vec<String>,
}

impl State {
    pub(crate) fn new(config: MeshConfig, folder: Folder) -> Self {
        Self {
            config,
            objects: folder.clusters.clone(),
            upstream: folder.upstream.clone(),
            networks: folder.networks.clone(),
            folder,
            vips: VipAllocator::default(),
        }
    }

    /// Builds the mesh from the current objects.
    pub(crate) fn build(&mut self) -> Result<Arc<Mesh>> {
        warn_about_ignored(&self.objects);
        let Self { config, objects, networks, upstream, vips, .. } = self;
        Mesh::build(config, objects, networks, upstream, vips).map(Arc::new)
    }

    /// Makes a change, and builds the mesh with it. If the change or the build fails, returns the error and leaves the
    /// state unchanged.
    fn attempt(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<Difference>,
    ) -> Result<(Arc<Mesh>, Difference)> {
        let of_mesh = (self.upstream.clone(), self.config.clone(), self.networks.clone());
        let before = (self.objects.clone(), of_mesh, self.folder.clone());
        let attempted = change(self).and_then(|difference| Ok((self.build()?, difference)));
        if attempted.is_err() {
            (self.objects, (self.upstream, self.config, self.networks), self.folder) = before;
        }
        attempted
    }

    /// Applies YAML to a cluster, as `kubectl apply` does. An unknown cluster is created.
    pub(crate) fn apply(&mut self, cluster: &str, text: &str) -> Result<(Arc<Mesh>, Difference)> {
        let manifests = read::read(&PathBuf::from("(applied)"), text)?;
        self.attempt(|state| {
            let mut difference = Difference::default();
            for manifest in manifests {
                put(&mut state.objects, cluster, manifest, &mut difference);
            }
            Ok(difference)
        })
    }

    /// Deletes an object of a cluster, as `kubectl delete` does.
    pub(crate) fn delete(&mut self, cluster: &str, key: &Key) -> Result<(Arc<Mesh>, Difference)> {
        self.attempt(|state| {
            let mut difference = Difference::default();
            if remove(&mut state.objects, cluster, key, &mut difference) {
                return Ok(difference);
            }
            let known = state.objects.get(cluster).into_iter().flatten().map(|(key, _)| key.to_string());
            let known: Vec<_> = known.collect();
            Err(Error::not_found("object", key, &known))
        })
    }

    /// Applies the differences between `folder` and the folder at the last read, like a user who applies edited files.
    pub(crate) fn reload(&mut self, folder: Folder) -> Result<(Arc<Mesh>, Difference)> {
        self.attempt(|state| {
            let mut difference = Difference::default();
            if folder.upstream != state.folder.upstream {
                state.upstream = folder.upstream.clone();
                difference.changed.push("upstream.hosts".to_owned());
            }
            if folder.config != state.folder.config {
                state.config = folder.config.following(&state.folder.config, &state.config)?;
                difference.changed.push("mesh.yaml".to_owned());
            }
            if folder.networks != state.folder.networks {
                state.networks = folder.networks.clone();
                difference.changed.push("meshNetworks.yaml".to_owned());
            }
            let old = std::mem::replace(&mut state.folder, folder.clone());
            let clusters: BTreeSet<&String> = old.clusters.keys().chain(folder.clusters.keys()).collect();
            for cluster in clusters {
                let empty = BTreeMap::new();
                let before = old.clusters.get(cluster).unwrap_or(&empty);
                let after = folder.clusters.get(cluster).unwrap_or(&empty);
                for key in before.keys().filter(|key| !after.contains_key(*key)) {
                    remove(&mut state.objects, cluster, key, &mut difference);
                }
                for manifest in after.values() {
                    if before.get(&manifest.key).is_none_or(|old| old.text != manifest.text) {
                        put(&mut state.objects, cluster, manifest.clone(), &mut difference);
                    }
                }
            }
            Ok(difference)
        })
    }
}

fn put(objects: &mut Objects, cluster: &str, manifest: Manifest, difference: &mut Difference) {
    difference.changed.push(manifest.key.to_string());
    objects.entry(cluster.to_owned()).or_default().insert(manifest.key.clone(), manifest);
}

fn remove(objects: &mut Objects, cluster: &str, key: &Key, difference: &mut Difference) -> bool {
    let removed = objects.get_mut(cluster).is_some_and(|objects| objects.remove(key).is_some());
    if removed {
        difference.removed.push(key.to_string());
    }
    removed
}

/// Warns about Istio objects outside the config cluster. istiod does not watch Istio kinds in other clusters.
fn warn_about_ignored(objects: &Objects) {
    for (cluster, objects) in objects.iter().skip(1) {
        for manifest in objects.values().filter(|manifest| manifest.object.is_istio()) {
            tracing::warn!(
                cluster,
                object = %manifest.key,
                location = %manifest.location,
                "ignored an Istio object: Istio kinds are read from the first cluster only"
            );
        }
    }
}
