//! One case: applies the same YAML to both and compares the results.

use std::{
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::Failed;

use crate::{
    both::{Imitation, Real, UPSTREAM},
    comparison::Comparison,
};

/// A folder with YAML.
pub(crate) struct Case {
    pub(crate) name: String,
    folder: PathBuf,
}

/// Returns all cases, sorted by name.
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
    /// Returns whether istiod needs a DNS server with the names of the case.
    pub(crate) fn needs_dns(&self) -> bool {
        self.folder.join(UPSTREAM).is_file()
    }

    pub(crate) async fn check(self) -> Result<(), Failed> {
        match fs::read_to_string(self.folder.join("refused")) {
            Ok(words) => self.refuse(&words).await,
            Err(_) => {
                let environment = self.environment();
                let environment: Vec<_> =
                    environment.iter().map(|(key, value)| (&key[..], &value[..])).collect();
                Comparison::start(&self.name, &self.folder, &environment).await?.check().await
            }
        }
    }

    /// Returns the environment variables of istiod: the lines `KEY=VALUE` of the file `environment`.
    fn environment(&self) -> Vec<(String, String)> {
        let lines = fs::read_to_string(self.folder.join("environment")).unwrap_or_default();
        let pairs = lines.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Checks that the real istiod accepts the YAML, and that the sandbox rejects it with these words.
    async fn refuse(&self, words: &str) -> Result<(), Failed> {
        let _real = Real::start(&self.folder, &[]).await;
        let error = match Imitation::start(&self.folder, |builder| builder).await {
            Err(error) => error.to_string(),
            Ok(_) => return Err("the sandbox accepts YAML that it does not support".into()),
        };
        match words.lines().find(|word| !error.contains(word)) {
            None => Ok(()),
            Some(word) => Err(format!("the error of the sandbox does not contain {word:?}: {error}").into()),
        }
    }
}
