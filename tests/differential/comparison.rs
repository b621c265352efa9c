//! The same mesh in istiod and in the sandbox, as all nodes see it.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use libtest_mimic::Failed;
use mesh_sandbox::address_book::AddressBook;
use mesh_tests::ads::NodeBuilder;
use tokio_stream::StreamExt as _;

use crate::{
    both::{Imitation, Real, UPSTREAM},
    facts::Facts,
    nodes,
    relay::Relay,
    view::View,
};

/// The time in which both may send more messages until they agree: istiod allocates addresses after its start.
const SETTLING: Duration = Duration::from_millis(1500);
/// A time without messages after which none are expected: longer than the debounce of 100 ms and a push.
const QUIET: Duration = Duration::from_millis(450);

/// Both servers, with the nodes that subscribe to them.
pub(crate) struct Comparison {
    name: String,
    pub(crate) real: Real,
    pub(crate) imitation: Imitation,
    pairs: Vec<Pair>,
    _dns: Option<Relay>,
}

impl Comparison {
    /// Starts both with the YAML of a folder.
    pub(crate) async fn start(
        name: &str,
        folder: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self, Failed> {
        let imitation = Imitation::start(folder, |builder| builder).await?;
        let dns = match folder.join(UPSTREAM).is_file() {
            true => Some(Relay::start(imitation.sandbox.upstream_dns()).await?),
            false => None,
        };
        let real = Real::start_with(folder, &[], environment, dns.as_ref().map(Relay::address)).await;
        let mut pairs = Vec::new();
        for (name, node) in nodes::all() {
            pairs.push(Pair::open(&real, &imitation, name, &node).await);
        }
        Ok(Self { name: name.to_owned(), real, imitation, pairs, _dns: dns })
    }

    /// Returns the differences, grouped by the nodes that see them. Both may send more messages until they agree.
    pub(crate) async fn check(&mut self) -> Result<(), Failed> {
        let book = self.imitation.book();
        let mut differences = BTreeMap::<_, Vec<_>>::new();
        for pair in &mut self.pairs {
            for difference in pair.differences(&book).await {
                differences.entry(difference).or_default().push(pair.node);
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(self.report(&differences).into()) }
    }

    /// Receives everything that a change pushes to all nodes, until no more messages arrive.
    pub(crate) async fn settle(&mut self) {
        let views = self.pairs.iter_mut().flat_map(|pair| [&mut pair.real, &mut pair.imitated]);
        let quiet = views.map(async |view| while view.changes_within(QUIET).await {});
        let all: futures_util::stream::FuturesUnordered<_> = quiet.collect();
        all.collect::<()>().await;
    }

    fn report(&self, differences: &BTreeMap<String, Vec<&str>>) -> String {
        let mut by_nodes = BTreeMap::<String, Vec<&str>>::new();
        for (difference, seen_by) in differences {
            let all = seen_by.len() == self.pairs.len();
            let who = if all { "all nodes".to_owned() } else { seen_by.join("; ") };
            by_nodes.entry(who).or_default().push(difference);
        }
        let mut report = String::new();
        for (who, lines) in by_nodes {
            let _ = writeln!(report, "{}, seen by: {who}\n  {}", self.name, lines.join("\n  "));
        }
        report
    }
}

/// The same node, connected to both.
struct Pair {
    node: &'static str,
    real: View,
    imitated: View,
}

impl Pair {
    async fn open(real: &Real, imitation: &Imitation, name: &'static str, node: &NodeBuilder) -> Self {
        let message = node.build();
        let (real, imitated) = tokio::join!(
            async { View::open(&real.server, &real.credentials(node), &message).await },
            async { View::open(&imitation.server, &imitation.credentials(node), &message).await },
        );
        Self { node: name, real, imitated }
    }

    async fn differences(&mut self, book: &AddressBook) -> Vec<String> {
        loop {
            let imitated = Facts::of(&self.imitated, Some(book));
            let differences = Facts::of(&self.real, None).differences(&imitated);
            if differences.is_empty() {
                return differences;
            }
            let (real, imitated) =
                tokio::join!(self.real.changes_within(SETTLING), self.imitated.changes_within(SETTLING));
            if !real && !imitated {
                return differences;
            }
        }
    }
}
