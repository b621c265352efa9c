//! The comparison of two answers to one query, and the intended differences.

use std::collections::BTreeMap;

use hickory_resolver::proto::{
    op::Message,
    rr::{DNSClass, RecordType},
};

use super::{
    fixture::{SEARCH, TEXTUAL},
    upstream,
};

/// The number of answers of each kind.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

/// The parts of an answer that must be equal: response code, authority, truncation, recursion desired, and the records
/// without their order, with owner names in lower case.
type Essence = (u16, bool, bool, bool, Vec<String>);

fn essence(message: &Message) -> Essence {
    let flags = &message.metadata;
    let mut records: Vec<_> = message
        .answers
        .iter()
        .map(|record| {
            let owner = record.name.to_lowercase();
            format!("{owner} {} {} {} {}", record.ttl, record.dns_class, record.record_type(), record.data)
        })
        .collect();
    // The records of a truncated answer may differ.
    match flags.truncation {
        true => records.clear(),
        false => records.sort(),
    }
    let code = u16::from(flags.response_code);
    (code, flags.authoritative, flags.truncation, flags.recursion_desired, records)
}

impl Tally {
    pub(super) fn compare(&mut self, question: &[u8], ours: &[u8], theirs: &[u8]) {
        let asked = Message::from_vec(question).unwrap();
        let (Ok(ours), Ok(theirs)) = (Message::from_vec(ours), Message::from_vec(theirs)) else {
            return self.unexplained.push(format!("{asked}: {ours:?}, {theirs:?}"));
        };
        let alias_first = ours.answers.iter().skip(1).all(|record| record.record_type() != RecordType::CNAME);
        let kind = if essence(&ours) == essence(&theirs) && alias_first {
            same(&ours)
        } else if let Some(difference) = deliberate(&asked, question, &ours, &theirs) {
            difference
        } else {
            return self.unexplained.push(format!("{asked}\nours: {ours}\ntheirs: {theirs}"));
        };
        *self.counts.entry(kind).or_default() += 1;
    }

    pub(super) fn finish(self, at_least: usize) {
        let Self { counts, unexplained } = self;
        eprintln!("{counts:#?}");
        assert!(
            unexplained.is_empty(),
            "{} unexplained differences, such as\n{}",
            unexplained.len(),
            unexplained[..unexplained.len().min(5)].join("\n")
        );
        assert!(counts.values().sum::<usize>() >= at_least);
        for needed in [
            "mesh",
            "mesh, alias",
            "mesh, NODATA",
            "mesh, truncated",
            "upstream",
            "suffix by labels",
            "class",
        ] {
            assert!(counts.get(needed).is_some_and(|count| *count > 0), "{needed} was never seen");
        }
    }
}

fn same(answer: &Message) -> &'static str {
    let alias = answer.answers.iter().any(|record| record.record_type() == RecordType::CNAME);
    match (answer.metadata.authoritative, answer.metadata.truncation) {
        (true, true) => "mesh, truncated",
        (true, false) if answer.answers.is_empty() => "mesh, NODATA",
        (true, false) if alias => "mesh, alias",
        (true, false) => "mesh",
        (false, _) => "upstream",
    }
}

/// Returns the intended difference, as listed in the documentation of `mesh_resolver`.
fn deliberate(asked: &Message, question: &[u8], ours: &Message, theirs: &Message) -> Option<&'static str> {
    let query = &asked.queries[0];
    let upstreams = Message::from_vec(&upstream::answer(question)).unwrap();
    // Sidestep compares search domains by labels, so it expands a name that ends only in the text of the search domain.
    let name = query.name().to_lowercase().to_ascii();
    if name == format!("{TEXTUAL}.{}.", SEARCH[0])
        && ours.metadata.authoritative
        && essence(theirs) == essence(&upstreams)
    {
        return Some("suffix by labels");
    }
    // Sidestep caches upstream answers and returns them with the remaining TTL.
    if !ours.metadata.authoritative && ages(ours, theirs) {
        return Some("cached");
    }
    // Sidestep forwards other classes to upstream; the agent answers with records of class IN.
    if query.query_class() != DNSClass::IN && theirs.metadata.authoritative && ages(ours, &upstreams) {
        return Some("class");
    }
    None
}

/// Returns whether the answers are equal except for elapsed TTLs.
fn ages(ours: &Message, theirs: &Message) -> bool {
    let ttls = |message: &Message| message.answers.iter().map(|record| record.ttl).min();
    let timeless = |message: &Message| {
        let mut message = message.clone();
        message.answers.iter_mut().for_each(|record| record.ttl = 0);
        essence(&message)
    };
    timeless(ours) == timeless(theirs) && ttls(ours) <= ttls(theirs)
}
