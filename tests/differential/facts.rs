//! The resources of a node as comparable facts: resource, field, value. Only properties that may differ between two
//! runs of the same istiod are normalised: order, nonces, versions, the choice of automatic addresses, and the loopback
//! ports of the sandbox.

mod addresses;
mod clusters;
mod endpoints;
mod metadata;
mod sockets;

use std::collections::{BTreeMap, BTreeSet};

use mesh_sandbox::address_book::AddressBook;
use xds_proto::istio::networking::nds::v1::NameTable;

use self::addresses::Automatic;
use crate::view::View;

/// The fields of one resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Sets a field. A second value with the same name gets a number.
    fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        let mut key = name.clone();
        let mut count = 1;
        while self.0.contains_key(&key) {
            count += 1;
            key = format!("{name} #{count}");
        }
        self.0.insert(key, value.into());
    }

    /// Adds the fields of a part, prefixed with its name.
    fn nest(&mut self, part: &str, fields: Self) {
        for (name, value) in fields.0 {
            self.set(format!("{part}: {name}"), value);
        }
    }
}

/// All resources of a node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts(BTreeMap<String, Fields>);

impl Facts {
    pub(crate) fn of(view: &View, book: Option<&AddressBook>) -> Self {
        let mut facts = BTreeMap::new();
        if let Some(table) = &view.names {
            names(table, &mut facts);
        }
        // In ambient mode, istiod also sends the cluster of HBONE tunnels, which no client without HBONE reads.
        let clusters = view.clusters.iter().flatten().filter(|(name, _)| *name != "connect_originate");
        for (name, cluster) in clusters {
            facts.insert(format!("cluster {name}"), clusters::fields(cluster, book));
        }
        for (name, assignment) in &view.endpoints {
            facts.insert(format!("endpoints of {name}"), endpoints::fields(assignment, book));
        }
        Self(facts)
    }

    /// Returns one line per different field, and nothing if there is no difference. `self` is the real istiod.
    pub(crate) fn differences(&self, imitated: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (resource, (real, imitated)) in side_by_side(&self.0, &imitated.0) {
            match (real, imitated) {
                (Some(real), Some(imitated)) => compare(resource, real, imitated, &mut lines),
                (Some(_), None) => lines.push(format!("{resource}: only istiod has it")),
                (None, _) => lines.push(format!("{resource}: only the sandbox has it")),
            }
        }
        lines
    }
}

type Sides<'a, T> = BTreeMap<&'a str, (Option<&'a T>, Option<&'a T>)>;

fn side_by_side<'a, T>(real: &'a BTreeMap<String, T>, imitated: &'a BTreeMap<String, T>) -> Sides<'a, T> {
    let mut sides: Sides<'a, T> = real.iter().map(|(key, value)| (&key[..], (Some(value), None))).collect();
    for (key, value) in imitated {
        sides.entry(key).or_default().1 = Some(value);
    }
    sides
}

fn compare(resource: &str, real: &Fields, imitated: &Fields, lines: &mut Vec<String>) {
    let mut reported = BTreeSet::new();
    for (field, (a, b)) in side_by_side(&real.0, &imitated.0) {
        if a == b {
            continue;
        }
        // A part that is missing on one side, such as an endpoint, is reported as one difference.
        let part = field.rsplit_once(": ").map_or("", |(part, _)| part);
        let has = |fields: &Fields| {
            fields.0.keys().any(|key| key.strip_prefix(part).is_some_and(|rest| rest.starts_with(": ")))
        };
        match (part.is_empty(), has(real), has(imitated)) {
            (true, ..) | (_, true, true) => {
                let text =
                    |value: Option<&String>| value.map_or("nothing".to_owned(), |it| format!("{it:?}"));
                lines.push(format!("{resource}: {field}: istiod sends {}, the sandbox {}", text(a), text(b)));
            }
            (_, true, false) if reported.insert(part) => {
                lines.push(format!("{resource}: {part}: only istiod has it"));
            }
            (_, false, true) if reported.insert(part) => {
                lines.push(format!("{resource}: {part}: only the sandbox has it"));
            }
            _ => {}
        }
    }
}

fn names(table: &NameTable, facts: &mut BTreeMap<String, Fields>) {
    let automatic = Automatic::of(table);
    for (host, info) in &table.table {
        let mut fields = Fields::default();
        let mut addresses: Vec<_> = info.ips.iter().map(|address| automatic.name(address)).collect();
        addresses.sort();
        fields.set("ips", addresses.join(" "));
        fields.set("registry", &info.registry);
        fields.set("shortname", &info.shortname);
        fields.set("namespace", &info.namespace);
        fields.set("alternate hosts", info.alt_hosts.join(" "));
        facts.insert(format!("name {host}"), fields);
    }
}
