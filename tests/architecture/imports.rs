//! Imports between the modules of one folder, and the cycles that they form.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use crate::{
    resolution,
    source::{Binding, Path},
    tree::{ModuleId, Tree},
};

/// The location of an import from another module.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    file: PathBuf,
    line: usize,
    /// The path in the source.
    path: String,
    /// The name that a `use` declaration binds.
    binding: Option<String>,
}

/// The imports between modules of one folder. A module includes all modules below it.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    edges: BTreeMap<(ModuleId, ModuleId), BTreeSet<Place>>,
}

/// Modules of one folder that import each other, directly or indirectly.
#[derive(Debug)]
pub(crate) struct Cycle {
    /// The modules in alphabetical order.
    pub(crate) modules: Vec<String>,
    pub(crate) imports: Vec<(String, String, Vec<Place>)>,
}

impl Imports {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut imports = Self::default();
        for (id, module) in tree.modules.iter().enumerate() {
            for import in &module.content.imports {
                let binding = match &import.binding {
                    Binding::Name(name) => Some(name.clone()),
                    Binding::Glob | Binding::Anonymous => None,
                };
                imports.add(tree, id, &import.path, binding);
            }
            for path in &module.content.paths {
                imports.add(tree, id, path, None);
            }
        }
        imports
    }

    fn add(&mut self, tree: &Tree, module: ModuleId, path: &Path, binding: Option<String>) {
        let file = &tree.modules[module].file;
        for target in resolution::modules_of(tree, module, &path.segments) {
            let Some(edge) = siblings(tree, module, target) else { continue };
            let places = self.edges.entry(edge).or_default();
            // The use of an imported name is already covered by its import.
            let imported =
                |place: &Place| place.file == *file && place.binding.as_ref() == path.segments.first();
            if !places.iter().any(imported) {
                let (line, path) = (path.line, path.segments.join("::"));
                places.insert(Place { file: file.clone(), line, path, binding: binding.clone() });
            }
        }
    }

    /// Returns the number of pairs of modules of which one imports the other.
    pub(crate) fn len(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn cycles(&self, tree: &Tree) -> Vec<Cycle> {
        let mut cycles = Vec::new();
        let mut done: BTreeSet<ModuleId> = BTreeSet::new();
        for &(module, _) in self.edges.keys() {
            if done.contains(&module) {
                continue;
            }
            let reached = self.reached_from(module);
            let component: BTreeSet<_> =
                reached.into_iter().filter(|other| self.reached_from(*other).contains(&module)).collect();
            done.extend(&component);
            if component.len() > 1 {
                cycles.push(self.cycle(tree, &component));
            }
        }
        cycles
    }

    fn cycle(&self, tree: &Tree, component: &BTreeSet<ModuleId>) -> Cycle {
        let mut modules: Vec<_> = component.iter().map(|module| tree.path(*module)).collect();
        modules.sort();
        let inside =
            self.edges.iter().filter(|((from, to), _)| component.contains(from) && component.contains(to));
        let imports = inside
            .map(|((from, to), places)| (tree.path(*from), tree.path(*to), places.iter().cloned().collect()));
        Cycle { modules, imports: imports.collect() }
    }

    fn reached_from(&self, start: ModuleId) -> BTreeSet<ModuleId> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            for &(_, to) in self.edges.range((module, 0)..(module + 1, 0)).map(|(edge, _)| edge) {
                if reached.insert(to) {
                    next.push(to);
                }
            }
        }
        reached
    }
}

/// Returns the two modules of one folder that contain `from` and `to`, or `None` if one contains the other.
fn siblings(tree: &Tree, from: ModuleId, to: ModuleId) -> Option<(ModuleId, ModuleId)> {
    let (from, to) = (tree.ancestry(from), tree.ancestry(to));
    from.into_iter().zip(to).find(|(from, to)| from != to)
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}} import each other:", self.modules.join(", "))?;
        for (from, to, places) in &self.imports {
            write!(f, "\n  {from} imports {to}")?;
            for place in places {
                write!(f, "\n    {}:{}: {}", place.file.display(), place.line, place.path)?;
            }
        }
        Ok(())
    }
}
