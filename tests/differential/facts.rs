//! What a node was told, as flat facts that can be compared: resource, field, value. Normalised away is what may differ
//! between two runs of the same istiod, and nothing else: order, nonces, versions, which of the automatic addresses a host
//! got, and on which port of loopback the sandbox listens for an address of the YAML.

mod addresses;
mod clusters;
mod endpoints;
mod metadata;
mod sockets;

use std::{collections::BTreeMap, fmt::Write as _};

use mesh_sandbox::AddressBook;
use xds_proto::istio::networking::nds::v1::NameTable;

use self::addresses::Automatic;
use crate::view::View;

/// The fields of one resource.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// Sets a field; a second value of the same name gets a number.
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

    /// Takes the fields of a part in, under its name.
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
        for (name, cluster) in view.clusters.iter().flatten() {
            facts.insert(format!("cluster {name}"), clusters::fields(cluster, book));
        }
        for (name, assignment) in &view.endpoints {
            facts.insert(format!("endpoints of {name}"), endpoints::fields(assignment, book));
        }
        Self(facts)
    }

    /// One line per field that is not the same; `self` is the real one. Empty where there is no difference.
    pub(crate) fn differences(&self, imitated: &Self) -> String {
        let mut report = String::new();
        let resources: std::collections::BTreeSet<&String> = self.0.keys().chain(imitated.0.keys()).collect();
        for resource in resources {
            match (self.0.get(resource), imitated.0.get(resource)) {
                (Some(real), Some(imitated)) => compare(resource, real, imitated, &mut report),
                (Some(_), None) => {
                    let _ = writeln!(report, "  {resource}: only istiod has it");
                }
                _ => {
                    let _ = writeln!(report, "  {resource}: only the sandbox has it");
                }
            }
        }
        report
    }
}

fn compare(resource: &str, real: &Fields, imitated: &Fields, report: &mut String) {
    let fields: std::collections::BTreeSet<&String> = real.0.keys().chain(imitated.0.keys()).collect();
    for field in fields {
        let (a, b) = (real.0.get(field), imitated.0.get(field));
        if a != b {
            let text = |value: Option<&String>| value.map_or("nothing".to_owned(), |it| format!("{it:?}"));
            let _ =
                writeln!(report, "  {resource}, {field}: istiod says {}, the sandbox {}", text(a), text(b));
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
