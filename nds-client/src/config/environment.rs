//! Variables from several sources, with their precedence.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::error::ConfigProblem;

/// Layers of variables. The first layer that contains a variable determines its value; an empty value means unset.
///
/// A variable of the program's environment whose value is not UTF-8 counts as empty. Such a value is a problem only if
/// the configuration reads the variable, because most variables of a process do not concern the configuration.
#[derive(Debug, Default)]
pub(super) struct Environment {
    layers: Vec<Layer>,
    /// The variables that were read although their values are not UTF-8.
    unusable: RefCell<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Layer {
    file: Option<PathBuf>,
    variables: BTreeMap<String, String>,
    /// The variables whose values are not UTF-8. They are empty in `variables`.
    not_text: BTreeSet<String>,
}

/// A variable, its value (`text`) and the file that contains it. `file` is `None` if the program set the variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable<'a> {
    pub(super) key: &'a str,
    pub(super) text: &'a str,
    file: Option<&'a Path>,
}

impl Environment {
    /// Adds a layer with lower precedence than the existing layers.
    pub(super) fn add(&mut self, file: Option<PathBuf>, variables: BTreeMap<String, String>) {
        self.layers.push(Layer { file, variables, not_text: BTreeSet::new() });
    }

    /// Adds a layer with the variables that the program has passed, with lower precedence than the existing layers.
    pub(super) fn add_passed(&mut self, variables: BTreeMap<String, OsString>) {
        let mut layer = Layer::default();
        for (key, value) in variables {
            let text = value.into_string().unwrap_or_else(|_| {
                layer.not_text.insert(key.clone());
                String::new()
            });
            layer.variables.insert(key, text);
        }
        self.layers.push(layer);
    }

    pub(super) fn get<'a>(&'a self, key: &'a str) -> Option<Variable<'a>> {
        let layer = self.layers.iter().find(|layer| layer.variables.contains_key(key))?;
        let (key, text) = layer.variables.get_key_value(key)?;
        self.record_use(layer, key);
        (!text.is_empty()).then_some(Variable { key, text, file: layer.file.as_deref() })
    }

    fn record_use(&self, layer: &Layer, key: &str) {
        if layer.not_text.contains(key) {
            self.unusable.borrow_mut().insert(key.to_owned());
        }
    }

    /// Returns one problem for each variable that was read although its value is not UTF-8.
    pub(super) fn problems(&self) -> Vec<ConfigProblem> {
        let problem = |key: &String| {
            ConfigProblem::new("the value is not UTF-8: correct or unset the variable").about(key.clone())
        };
        self.unusable.borrow().iter().map(problem).collect()
    }

    pub(super) fn text<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.get(key).map(|variable| variable.text)
    }

    /// Returns the first variable in `keys` that is set and not empty.
    pub(super) fn first<'a>(&'a self, keys: &[&'a str]) -> Option<Variable<'a>> {
        keys.iter().find_map(|key| self.get(key))
    }

    /// Returns all variables whose names start with `prefix`, each with the part of its name after `prefix`. Empty
    /// variables are included.
    pub(super) fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, Variable<'a>)> {
        let mut all: BTreeMap<&str, Variable<'a>> = BTreeMap::new();
        for layer in &self.layers {
            for (key, text) in &layer.variables {
                let variable = Variable { key, text, file: layer.file.as_deref() };
                if let Some(rest) = key.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
                    all.entry(rest).or_insert_with(|| {
                        self.record_use(layer, key);
                        variable
                    });
                }
            }
        }
        all.into_iter()
    }

    /// Returns the problem that the variable `key` is missing. The problem names the first file with variables, because
    /// users would set the variable there.
    pub(super) fn missing(&self, key: &str, what: &str) -> ConfigProblem {
        let file = self.layers.iter().find_map(|layer| layer.file.as_ref());
        let problem = ConfigProblem::new(what).about(key);
        match file {
            Some(file) => problem.in_file(file),
            None => problem,
        }
    }
}

impl Variable<'_> {
    pub(super) fn problem(&self, what: impl Into<String>) -> ConfigProblem {
        let problem = ConfigProblem::new(what).about(self.key);
        match self.file {
            Some(file) => problem.in_file(file),
            None => problem,
        }
    }
}
