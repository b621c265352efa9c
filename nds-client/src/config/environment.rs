//! Variables by where they come from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::error::Problem;

/// Layers of variables. The first that has a variable counts; there it may be empty, which is as good as unset.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    layers: Vec<Layer>,
}

#[derive(Clone, Debug)]
struct Layer {
    file: Option<PathBuf>,
    variables: BTreeMap<String, String>,
}

/// A variable that is set to something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable<'a> {
    pub(super) key: &'a str,
    pub(super) text: &'a str,
    file: Option<&'a Path>,
}

impl Environment {
    /// Adds variables that count where no layer before has them.
    pub(super) fn add(&mut self, file: Option<PathBuf>, variables: BTreeMap<String, String>) {
        self.layers.push(Layer { file, variables });
    }

    pub(super) fn get<'a>(&'a self, key: &'a str) -> Option<Variable<'a>> {
        let layer = self.layers.iter().find(|layer| layer.variables.contains_key(key))?;
        let (key, text) = layer.variables.get_key_value(key)?;
        (!text.is_empty()).then_some(Variable { key, text, file: layer.file.as_deref() })
    }

    pub(super) fn text<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.get(key).map(|variable| variable.text)
    }

    /// The first of these that is set.
    pub(super) fn first<'a>(&'a self, keys: &[&'a str]) -> Option<Variable<'a>> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// Every variable whose name begins with `prefix`, with the rest of its name; empty ones too.
    pub(super) fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, Variable<'a>)> {
        let mut all: BTreeMap<&str, Variable<'a>> = BTreeMap::new();
        for layer in &self.layers {
            for (key, text) in &layer.variables {
                let variable = Variable { key, text, file: layer.file.as_deref() };
                if let Some(rest) = key.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
                    all.entry(rest).or_insert(variable);
                }
            }
        }
        all.into_iter()
    }

    /// Where people would expect a variable that is missing.
    pub(super) fn missing(&self, key: &str, what: &str) -> Problem {
        let file = self.layers.iter().find_map(|layer| layer.file.as_ref());
        let problem = Problem::new(what).about(key);
        match file {
            Some(file) => problem.in_file(file),
            None => problem,
        }
    }
}

impl Variable<'_> {
    pub(super) fn problem(&self, what: impl Into<String>) -> Problem {
        let problem = Problem::new(what).about(self.key);
        match self.file {
            Some(file) => problem.in_file(file),
            None => problem,
        }
    }
}
