//! Random DNS queries for names similar to those in the table, as bytes.

use fastrand::Rng;

use super::fixture::SEARCH;

const A: u16 = 1;
const AAAA: u16 = 28;
const IN: u16 = 1;

/// MX, TXT, SRV, HTTPS, PTR, NS, SOA, CAA, ANY.
const OTHER_TYPES: [u16; 9] = [15, 16, 33, 65, 12, 2, 6, 257, 255];

const LABELS: [&str; 14] = [
    "a", "b", "s0", "s1", "weather", "shop", "svc", "cluster", "local", "wildcard", "example", "www", "_tcp",
    "x-1",
];

const SUFFIXES: [&str; 5] = ["svc", "svc.cluster", "svc.cluster.local", "example", "weather.svc"];

/// An infinite sequence of queries.
pub(super) struct Questions {
    names: Vec<String>,
    rng: Rng,
    next_id: u16,
}

impl Questions {
    pub(super) fn new(names: Vec<String>, seed: u64) -> Self {
        Self { names, rng: Rng::with_seed(seed), next_id: 0 }
    }

    pub(super) fn window(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.question()).collect()
    }

    fn question(&mut self) -> Vec<u8> {
        let name = self.name();
        let kind = match self.rng.u8(..10) {
            0..5 => A,
            5..8 => AAAA,
            _ => self.rng.choice(OTHER_TYPES).unwrap(),
        };
        let class = if self.rng.u8(..100) == 0 { 3 } else { IN };
        self.next_id = self.next_id.wrapping_add(1);
        let mut bytes = query(self.next_id, &name, kind, class);
        bytes[2] = u8::from(self.rng.u8(..4) > 0);
        if self.rng.bool() {
            let size = self.rng.choice([0, 512, 900, 1232, 4096, 65_535u16]).unwrap().to_be_bytes();
            bytes[11] = 1;
            bytes.extend_from_slice(&[0, 0, 41, size[0], size[1], 0, 0, 0, 0, 0, 0]);
        }
        bytes
    }

    /// Returns a name of the table, complete or partial, with a prefix or suffix, and in random case.
    fn name(&mut self) -> String {
        let rng = &mut self.rng;
        let mut labels: Vec<String> = match rng.u8(..10) {
            0 => Vec::new(),
            _ => rng.choice(&self.names).unwrap().split('.').map(ToOwned::to_owned).collect(),
        };
        if labels.first().is_some_and(|first| first == "*") && rng.u8(..8) > 0 {
            labels[0] = (*rng.choice(&LABELS).unwrap()).to_owned();
        }
        if rng.u8(..3) == 0 {
            labels.truncate(rng.usize(..=labels.len()));
        }
        for _ in 0..rng.usize(..10).saturating_sub(7) {
            labels.insert(0, (*rng.choice(&LABELS).unwrap()).to_owned());
        }
        if labels.is_empty() || rng.u8(..8) == 0 {
            labels.push((*rng.choice(&LABELS).unwrap()).to_owned());
        }
        if rng.u8(..6) == 0 {
            labels.push((*rng.choice(&SUFFIXES).unwrap()).to_owned());
        }
        if rng.u8(..3) == 0 {
            labels.push((*rng.choice(&SEARCH[..]).unwrap()).to_owned());
        }
        if rng.u8(..20) == 0 {
            labels.push(SEARCH[0].to_owned());
        }
        if rng.u8(..50) == 0 {
            labels[0].push(*rng.choice(&[' ', '/', '\u{7f}', '!', '\\']).unwrap());
        }
        let name = labels.join(".");
        match rng.u8(..3) {
            0 => name
                .chars()
                .map(|letter| if rng.bool() { letter.to_ascii_uppercase() } else { letter })
                .collect(),
            _ => name,
        }
    }
}

/// Returns a query for the A records of a name.
pub(super) fn plain(name: &str) -> Vec<u8> {
    query(7, name, A, IN)
}

fn query(id: u16, name: &str, kind: u16, class: u16) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes
}

/// Returns messages without a question, with two questions, truncated, and with other operations.
pub(super) fn malformed(name: &str) -> Vec<Vec<u8>> {
    let changed = |at: usize, byte: u8| {
        let mut packet = plain(name);
        packet[at] = byte;
        packet
    };
    let mut twice = changed(5, 2);
    let question = twice[12..].to_vec();
    twice.extend_from_slice(&question);
    let none = changed(5, 0)[..12].to_vec();
    let cut = plain(name)[..15].to_vec();
    let operations = [1, 2, 3, 5, 6, 15].map(|operation| changed(2, operation << 3));
    [none, twice, cut].into_iter().chain(operations).collect()
}
