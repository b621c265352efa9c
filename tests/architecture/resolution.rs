//! Name resolution: the modules through which a path resolves.

use std::collections::BTreeSet;

use crate::{
    source::Binding,
    tree::{ModuleId, ROOT, Tree},
};

/// Returns the modules through which `path`, written in `module`, resolves: the modules that it names, those that
/// re-export its target, and the one that defines it. A path to another crate has none.
pub(crate) fn modules_of(tree: &Tree, module: ModuleId, path: &[String]) -> BTreeSet<ModuleId> {
    let mut walk = Walk { tree, passed: BTreeSet::new(), followed: Vec::new() };
    walk.path(module, path);
    walk.passed
}

struct Walk<'a> {
    tree: &'a Tree,
    passed: BTreeSet<ModuleId>,
    /// The imports followed so far, by module and position, so that none is followed through itself (`use name::name`).
    followed: Vec<(ModuleId, usize)>,
}

impl Walk<'_> {
    /// Follows a path from `module`. Returns whether it resolves to an item of this tree.
    fn path(&mut self, module: ModuleId, path: &[String]) -> bool {
        let Some((first, mut rest)) = path.split_first() else { return false };
        match first.as_str() {
            "crate" => self.below(ROOT, rest),
            "self" => self.below(module, rest),
            "super" => {
                let parent = |module: ModuleId| self.tree.modules[module].parent;
                let mut ancestor = parent(module);
                while let [next, after @ ..] = rest
                    && next == "super"
                {
                    ancestor = ancestor.and_then(parent);
                    rest = after;
                }
                ancestor.is_some_and(|ancestor| self.below(ancestor, rest))
            }
            _ => self.name(module, path, true),
        }
    }

    /// Follows the rest of a path that has resolved to `module`.
    fn below(&mut self, module: ModuleId, rest: &[String]) -> bool {
        self.passed.insert(module);
        rest.is_empty() || self.name(module, rest, false)
    }

    /// Follows a path whose first segment is a name in `module`. Names that its functions import are visible only if
    /// `inside`.
    fn name(&mut self, module: ModuleId, path: &[String], inside: bool) -> bool {
        let Some((name, rest)) = path.split_first() else { return false };
        let here = &self.tree.modules[module];
        let child = here.children.get(name).is_some_and(|child| self.below(*child, rest));
        // An item with the same name as a module has nothing below it.
        if child && !rest.is_empty() {
            return true;
        }
        let item = here.content.items.contains(name);
        if item {
            self.passed.insert(module);
        }
        let found = child | item | self.exported_macro(module, name) | self.imports(module, path, inside);
        found || self.globs(module, path, inside)
    }

    /// Follows all imports of a name. Conditional compilation and namespaces allow several.
    fn imports(&mut self, module: ModuleId, path: &[String], inside: bool) -> bool {
        let Some((name, rest)) = path.split_first() else { return false };
        let named = |binding: &Binding| matches!(binding, Binding::Name(bound) if bound == name);
        let mut found = false;
        for (position, target) in self.tree.imports(module, inside, named) {
            found |= self.import(module, position, &[target, rest].concat());
        }
        found
    }

    /// Looks up a name through glob imports. Modules on the way are recorded only if they have the name.
    fn globs(&mut self, module: ModuleId, path: &[String], inside: bool) -> bool {
        for (position, target) in self.tree.imports(module, inside, |binding| *binding == Binding::Glob) {
            let before = self.passed.clone();
            if self.import(module, position, &[target, path].concat()) {
                return true;
            }
            self.passed = before;
        }
        false
    }

    fn import(&mut self, module: ModuleId, position: usize, path: &[String]) -> bool {
        if self.followed.contains(&(module, position)) {
            return false;
        }
        self.followed.push((module, position));
        let found = self.path(module, path);
        self.followed.pop();
        found
    }

    fn exported_macro(&mut self, module: ModuleId, name: &str) -> bool {
        let exporter = (module == ROOT).then(|| self.tree.exporter(name)).flatten();
        self.passed.extend(exporter);
        exporter.is_some()
    }
}
