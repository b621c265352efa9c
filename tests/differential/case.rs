//! One case: the same YAML to both, and the differences.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use libtest_mimic::Failed;
use mesh_tests::ads::NodeBuilder;

use crate::{
    both::{Imitation, Real},
    facts::Facts,
    nodes,
    view::View,
};

/// How long istiod may take to say something that makes a difference go away: it allocates addresses after its start.
const SETTLING: Duration = Duration::from_millis(1500);

/// A folder with YAML.
pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
}

/// All cases, by name.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("differential/cases");
    let entries = fs::read_dir(&folder).expect("the cases").map(|entry| entry.expect("an entry").path());
    let mut cases: Vec<_> = entries
        .filter(|path| path.is_dir())
        .map(|folder| {
            let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
            Case { name, folder }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

impl Case {
    pub(crate) async fn check(self) -> Result<(), Failed> {
        match fs::read_to_string(self.folder.join("refused")) {
            Ok(words) => self.refuse(&words).await,
            Err(_) => self.compare().await,
        }
    }

    /// The real istiod takes it, the sandbox says why it does not.
    async fn refuse(&self, words: &str) -> Result<(), Failed> {
        let _real = Real::start(&self.folder, &[]).await;
        let error = match Imitation::start(&self.folder, |builder| builder).await {
            Err(error) => error.to_string(),
            Ok(_) => return Err("the sandbox takes what it cannot imitate".into()),
        };
        match words.lines().find(|word| !error.contains(word)) {
            None => Ok(()),
            Some(word) => Err(format!("the sandbox does not say {word:?} but: {error}").into()),
        }
    }

    async fn compare(&self) -> Result<(), Failed> {
        let real = Real::start(&self.folder, &[]).await;
        let imitation = Imitation::start(&self.folder, |builder| builder).await?;
        let mut pairs = Vec::new();
        for (name, node) in nodes::all() {
            pairs.push(Pair::open(&real, &imitation, name, &node).await);
        }
        let mut differences = BTreeMap::<_, Vec<_>>::new();
        for pair in &mut pairs {
            for difference in pair.differences(&imitation).await {
                differences.entry(difference).or_default().push(pair.node);
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(self.report(&differences, pairs.len()).into()) }
    }

    /// What differs, under the nodes that see it.
    fn report(&self, differences: &BTreeMap<String, Vec<&str>>, nodes: usize) -> String {
        let mut by_nodes = BTreeMap::<String, Vec<&str>>::new();
        for (difference, seen_by) in differences {
            let who = if seen_by.len() == nodes { "all nodes".to_owned() } else { seen_by.join("; ") };
            by_nodes.entry(who).or_default().push(difference);
        }
        let mut report = String::new();
        for (who, lines) in by_nodes {
            let _ = writeln!(report, "case {}, seen by: {who}\n  {}", self.name, lines.join("\n  "));
        }
        report
    }
}

/// The same node at both.
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

    async fn differences(&mut self, imitation: &Imitation) -> Vec<String> {
        let imitated = Facts::of(&self.imitated, Some(&imitation.book()));
        loop {
            let differences = Facts::of(&self.real, None).differences(&imitated);
            if differences.is_empty() || !self.real.changes_within(SETTLING).await {
                return differences;
            }
        }
    }
}
