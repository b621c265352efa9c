//! The EndpointSlices of one cluster, by service.

use std::collections::{BTreeMap, HashMap};

use super::each;
use crate::yaml::kubernetes::EndpointSlice;
use crate::yaml::{Key, Manifest, Object};

/// Slices by namespace and service, sorted by name.
#[derive(Debug, Default)]
pub(crate) struct Slices<'a>(HashMap<&'a str, HashMap<&'a str, Vec<&'a EndpointSlice>>>);

impl<'a> Slices<'a> {
    pub(crate) fn read(objects: &'a BTreeMap<Key, Manifest>) -> Self {
        let mut slices = Self::default();
        let found = each(objects, |object| match object {
            Object::EndpointSlice(slice) => Some(slice),
            _ => None,
        });
        for (manifest, slice) in found {
            if let Some(service) = manifest.labels().get("kubernetes.io/service-name") {
                let of_namespace = slices.0.entry(&manifest.key.namespace).or_default();
                of_namespace.entry(service).or_default().push(slice);
            }
        }
        slices
    }

    /// Returns the EndpointSlices of a service.
    pub(crate) fn of(&self, namespace: &str, service: &str) -> &[&'a EndpointSlice] {
        self.0.get(namespace).and_then(|slices| slices.get(service)).map_or(&[], Vec::as_slice)
    }
}
