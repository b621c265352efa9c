//! `DestinationRule`s, and the selection of the rules for a host from the view of a namespace (istio
//! `pilot/pkg/model/push_context.go`, `destination_rule.go`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::host::is_subset;
use super::policy::ROOT_NAMESPACE;
use super::{Service, each, selects};
use crate::yaml::destination_rule::{DestinationRuleSpec, Subset, TrafficPolicy};
use crate::yaml::kubernetes::Labels;
use crate::yaml::{Key, Manifest, Object};

/// A `DestinationRule`, or the result of merging several rules of one namespace for one host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    /// The namespace of the rule.
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The labels of the workloads that the rule applies to, in the namespace of the rule. `None` if it applies to all
    /// workloads.
    selector: Option<Labels>,
    export_to: BTreeSet<String>,
    pub(crate) policy: Option<TrafficPolicy>,
    pub(crate) subsets: Vec<Subset>,
}

/// Rules by host, oldest first.
type ByHost = BTreeMap<String, Vec<Rule>>;

/// The `DestinationRule`s of the mesh.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rules {
    /// The rules of each namespace for clients of the same namespace.
    local: BTreeMap<String, ByHost>,
    /// The rules of each namespace for clients of other namespaces.
    exported: BTreeMap<String, ByHost>,
    /// The rules of the root namespace that are exported only to the root namespace.
    root: ByHost,
    /// The host and the spec of each `DestinationRule` object.
    objects: BTreeMap<(String, String), (String, DestinationRuleSpec)>,
}

impl Rule {
    pub(crate) fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().find(|subset| subset.name == name)
    }

    /// Merges the rule `other` for the same host into this rule: adds the subsets of `other`, and its policy if this
    /// rule has no policy.
    fn merge(&mut self, other: &DestinationRuleSpec) {
        let new = other.subsets.iter().filter(|subset| self.subset(&subset.name).is_none());
        self.subsets.extend(new.cloned().collect::<Vec<_>>());
        self.policy = self.policy.take().or_else(|| other.traffic_policy.clone());
    }
}

impl Rules {
    pub(crate) fn read(objects: &BTreeMap<Key, Manifest>) -> Self {
        let found = each(objects, |object| match object {
            Object::DestinationRule(rule) => Some(rule),
            _ => None,
        });
        let mut all: Vec<_> = found.collect();
        all.sort_by_cached_key(|(manifest, rule)| {
            (Reverse(rule.spec.workload_selector.is_some()), manifest.age())
        });
        let mut rules = Self::default();
        for (manifest, rule) in all {
            rules.add(manifest, &rule.spec);
        }
        rules
    }

    fn add(&mut self, manifest: &Manifest, spec: &DestinationRuleSpec) {
        let namespace = &manifest.key.namespace;
        let host = full_name(&spec.host, namespace);
        let selector = spec.workload_selector.as_ref().map(|it| it.match_labels.clone());
        let export_to: BTreeSet<String> = match selector {
            Some(_) => BTreeSet::from([".".to_owned()]),
            None => spec.export_to.iter().cloned().collect(),
        };
        let object = (namespace.clone(), manifest.key.name.clone());
        self.objects.insert(object, (host.clone(), spec.clone()));
        let is_own = |target: &str| target == "." || target == namespace;
        let is_local = export_to.is_empty() || export_to.iter().any(|target| target == "*" || is_own(target));
        let is_private = export_to.len() == 1 && export_to.iter().all(|target| is_own(target));
        let rule = Rule {
            namespace: namespace.clone(),
            name: manifest.key.name.clone(),
            selector,
            export_to,
            policy: spec.traffic_policy.clone(),
            subsets: Vec::new(),
        };
        let put = |rules: &mut ByHost| put(rules.entry(host.clone()).or_default(), rule.clone(), spec);
        if is_local {
            put(self.local.entry(namespace.clone()).or_default());
        }
        if !is_private {
            put(self.exported.entry(namespace.clone()).or_default());
        } else if namespace == ROOT_NAMESPACE {
            put(&mut self.root);
        }
    }

    /// Returns the hosts whose rules differ from the rules in `other`.
    pub(crate) fn changed(&self, other: &Self) -> BTreeSet<String> {
        let missing = |rules: &Self, others: &Self| -> Vec<String> {
            let own = rules.objects.iter().filter(|(key, rule)| others.objects.get(*key) != Some(rule));
            own.map(|(_, (host, _))| host.clone()).collect()
        };
        missing(self, other).into_iter().chain(missing(other, self)).collect()
    }

    /// Returns the rules for a service that apply to clients in a namespace. The sources are, in this order: the
    /// client's namespace, the exports of the service's namespace, and the exports of the root namespace. The first
    /// source with rules for the host applies.
    pub(crate) fn of(&self, namespace: &str, service: &Service) -> Vec<Arc<Rule>> {
        let own = if namespace == ROOT_NAMESPACE { Some(&self.root) } else { self.local.get(namespace) };
        let found =
            own.and_then(|rules| most_specific(rules, &service.host)).map(|rules| rules.iter().collect());
        let exported = |home: &str| -> Option<Vec<&Rule>> {
            let rules = most_specific(self.exported.get(home)?, &service.host)?;
            let visible = rules.iter().filter(|rule| {
                let to = &rule.export_to;
                to.is_empty() || to.contains("*") || to.contains(namespace)
            });
            Some(visible.collect()).filter(|rules: &Vec<_>| !rules.is_empty())
        };
        let found = found.or_else(|| exported(&service.namespace)).or_else(|| exported(ROOT_NAMESPACE));
        found.unwrap_or_default().into_iter().cloned().map(Arc::new).collect()
    }
}

/// Returns the rule for a workload: the first rule whose selector matches the workload. If no selector matches, returns
/// the last rule without a selector, or `None` if every rule has a selector.
pub(crate) fn choose<'a>(rules: &'a [Arc<Rule>], namespace: &str, labels: &Labels) -> Option<&'a Rule> {
    let selecting = rules.iter().find(|rule| {
        rule.namespace == namespace && rule.selector.as_ref().is_some_and(|it| selects(it, labels))
    });
    selecting.or_else(|| rules.iter().rfind(|rule| rule.selector.is_none())).map(|rule| &**rule)
}

/// Merges `rule` into the rule in `rules` that has the same exports and selector. If there is none, adds `rule` (istio
/// `mergeDestinationRule`).
fn put(rules: &mut Vec<Rule>, rule: Rule, spec: &DestinationRuleSpec) {
    let mut is_separate = true;
    for known in rules.iter_mut() {
        let same_exports = known.export_to == rule.export_to;
        let is_wider = !known.export_to.is_empty() && known.export_to.is_subset(&rule.export_to);
        is_separate = !same_exports;
        if !same_exports && !is_wider {
            continue;
        }
        match (&known.selector, &rule.selector) {
            (Some(one), Some(other)) if one != other => {
                is_separate = true;
                continue;
            }
            (Some(_), Some(_)) | (None, None) => is_separate = false,
            _ => {}
        }
        known.merge(spec);
    }
    if is_separate {
        let subsets = spec.subsets.clone();
        rules.push(Rule { subsets, ..rule });
    }
}

/// Returns the rules for `host`. If there are none, returns the rules for the longest wildcard that matches `host`.
fn most_specific<'a>(rules: &'a ByHost, host: &str) -> Option<&'a [Rule]> {
    if let Some(rules) = rules.get(host) {
        return Some(rules);
    }
    let wild = rules.iter().filter(|(pattern, _)| pattern.starts_with('*') && is_subset(host, pattern));
    wild.max_by_key(|(pattern, _)| pattern.len()).map(|(_, rules)| rules.as_slice())
}

/// Expands a host without a dot to a service in the namespace of the rule.
fn full_name(host: &str, namespace: &str) -> String {
    if host == "*" || host.contains('.') || host.parse::<std::net::IpAddr>().is_ok() {
        return host.to_owned();
    }
    format!("{host}.{namespace}.svc.cluster.local")
}
