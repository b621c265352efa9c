//! A slow and simple model: it expands the whole table into a map, as the agent does, and looks names up like the
//! agent's loop. Both implementations must agree on every name.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const DOMAIN: &str = "svc.cluster.local";

/// All names that a table answers, with their possible entries.
#[derive(Default)]
struct Expanded(BTreeMap<String, Vec<(Rank, String)>>);

/// Kubernetes services come first, and within each registry the more literal match.
type Rank = (Registry, Literal);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Registry {
    Kubernetes,
    External,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Literal {
    Itself,
    Short,
    Searched,
}

impl Expanded {
    fn new(rows: &[Row<'_>], scope: &SearchScope) -> Self {
        let mut all = Self::default();
        for (name, _, service) in rows {
            let registry = if service.is_some() { Registry::Kubernetes } else { Registry::External };
            let mut names = vec![(Literal::Itself, (*name).to_owned())];
            if let Some((short, namespace)) = service.filter(|_| name.ends_with(&format!(".{DOMAIN}"))) {
                names.push((Literal::Short, format!("{short}.{namespace}")));
                names.push((Literal::Short, format!("{short}.{namespace}.svc")));
                if namespace == scope.namespace() {
                    names.push((Literal::Short, short.to_owned()));
                }
            }
            for (rank, known) in names {
                let search = scope.search_domain();
                if !search.is_empty() && known != search && !known.ends_with(&format!(".{search}")) {
                    all.add(format!("{known}.{search}"), (registry, Literal::Searched), name);
                }
                all.add(known, (registry, rank), name);
            }
        }
        all
    }

    fn add(&mut self, known: String, rank: Rank, entry: &str) {
        self.0.entry(known).or_default().push((rank, entry.to_owned()));
    }

    /// Returns the entries that may answer, as the loop of `lookupHost` finds them.
    fn answers(&self, question: &str) -> Vec<String> {
        let labels: Vec<_> = question.split('.').collect();
        let wildcards = (1..labels.len()).map(|at| format!("*.{}", labels[at..].join(".")));
        let mut tried = std::iter::once(question.to_owned()).chain(wildcards);
        let Some(found) = tried.find_map(|name| self.0.get(&name)) else { return Vec::new() };
        let best = found.iter().map(|(rank, _)| *rank).min();
        found.iter().filter(|(rank, _)| Some(*rank) == best).map(|(_, entry)| entry.clone()).collect()
    }
}

/// Generates few different labels, so that names often collide.
fn label() -> impl Strategy<Value = &'static str> {
    select(&["a", "b", "ns1", "ns2", "svc", "cluster", "local", "ns1-b"][..])
}

fn name(labels: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    vec(label(), labels).prop_map(|labels| labels.join("."))
}

#[derive(Clone, Debug)]
enum Entry {
    Foreign(String),
    Pod(String, String, String),
    Service(String, String),
    Wildcard(String),
}

fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        name(1..6).prop_map(Entry::Foreign),
        name(1..5).prop_map(Entry::Wildcard),
        (label(), label()).prop_map(|(short, ns)| Entry::Service(short.into(), ns.into())),
        (label(), label(), label()).prop_map(|(pod, short, ns)| Entry::Pod(
            pod.into(),
            short.into(),
            ns.into()
        )),
    ]
}

fn question() -> impl Strategy<Value = String> {
    let suffix = select(&["", ".svc", ".svc.cluster.local", ".ns1.svc.cluster.local", ".a", ".local"][..]);
    (name(1..5), suffix.clone(), suffix).prop_map(|(name, one, two)| format!("{name}{one}{two}"))
}

/// Returns the key, and the short name and namespace of a service, for each entry. Keys are unique, as in a table.
fn rows(entries: Vec<Entry>) -> BTreeMap<String, Option<(String, String)>> {
    let row = |entry| match entry {
        Entry::Foreign(name) => (name, None),
        Entry::Wildcard(domain) => (format!("*.{domain}"), None),
        Entry::Service(short, ns) => (format!("{short}.{ns}.{DOMAIN}"), Some((short, ns))),
        Entry::Pod(pod, short, ns) => {
            let short = format!("{pod}.{short}");
            (format!("{short}.{ns}.{DOMAIN}"), Some((short, ns)))
        }
    };
    entries.into_iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_name_is_answered_as_by_the_expanded_table(
        entries in vec(entry(), 0..12),
        questions in vec(question(), 1..40),
        search in prop_oneof![Just(String::new()), Just("ns1.svc.cluster.local".to_owned()), name(1..3)],
    ) {
        let rows = rows(entries);
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(name, service)| {
                let ips: &[&str] = &["192.0.2.1"];
                (&**name, ips, service.as_ref().map(|(short, ns)| (&**short, &**ns)))
            })
            .collect();
        let table = table(&rows);
        let scope = SearchScope::new("ns1", "ns1.svc.cluster.local").with_search_domain(&search);
        let expanded = Expanded::new(&rows, &scope);
        let table_names = rows.iter().map(|(name, ..)| (*name).to_owned());
        for question in questions.into_iter().chain(table_names).chain(expanded.0.keys().cloned()) {
            let found = lookup(&table, &scope, &question);
            let expected = expanded.answers(&question);
            match found {
                None => prop_assert!(expected.is_empty(), "{}: expected {:?}", question, expected),
                Some(answer) => prop_assert!(
                    expected.iter().any(|name| name == answer.name()),
                    "{}: {} is not in {:?}", question, answer.name(), expected
                ),
            }
        }
    }

    #[test]
    fn case_and_a_trailing_dot_are_ignored(entries in vec(entry(), 0..12), question in question()) {
        let rows = rows(entries);
        let keys: Vec<Row<'_>> = rows.keys().map(|name| (&**name, &["192.0.2.1"][..], None)).collect();
        let table = table(&keys);
        let find = |question: &str| {
            lookup(&table, &scope(), question).map(|answer| (answer.name().to_owned(), answer.match_kind()))
        };
        prop_assert_eq!(find(&question), find(&(question.to_ascii_uppercase() + ".")));
    }

    #[test]
    fn arbitrary_text_can_be_looked_up(question in "\\PC{0,300}") {
        let table = fixture();
        let _ = lookup(&table, &scope(), &question);
    }
}
