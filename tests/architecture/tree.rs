//! The modules of one target: a library, a binary or a test.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use syn::{Item, ItemMod, Lit, ext::IdentExt as _};

use crate::source::{Binding, Content, is_compiled, path_attribute};

/// The index of a module in [`Tree::modules`].
pub(crate) type ModuleId = usize;

/// The root module, which is the first one.
pub(crate) const ROOT: ModuleId = 0;

#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
    /// The files of the modules.
    files: BTreeSet<PathBuf>,
    /// The files of omitted test modules, without extension. These paths are also the folders of their child modules.
    tests: Vec<PathBuf>,
}

#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) file: PathBuf,
    pub(crate) children: BTreeMap<String, ModuleId>,
    pub(crate) content: Content,
}

/// Reads a file, or returns `None` if it does not exist.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

impl Tree {
    /// Parses the root file and the files of all modules below it.
    ///
    /// # Errors
    ///
    /// A file is missing or is not valid Rust.
    pub(crate) fn parse(root: &Path, read: Read<'_>) -> Result<Self, String> {
        let mut tree = Self::default();
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        tree.add_file("crate".to_owned(), None, root, &folder, read)?;
        Ok(tree)
    }

    /// Returns whether the file belongs to a module or to an omitted test module.
    pub(crate) fn has_file(&self, file: &Path) -> bool {
        self.files.contains(file)
            || self.tests.iter().any(|test| file.with_extension("") == *test || file.starts_with(test))
    }

    /// Returns the names from the root to the module, or `crate` for the root.
    pub(crate) fn path(&self, module: ModuleId) -> String {
        match self.modules[module].parent {
            None | Some(ROOT) => self.modules[module].name.clone(),
            Some(parent) => format!("{}::{}", self.path(parent), self.modules[module].name),
        }
    }

    /// Returns the module with all modules that contain it, from the root.
    pub(crate) fn ancestry(&self, module: ModuleId) -> Vec<ModuleId> {
        let mut ancestry: Vec<_> =
            std::iter::successors(Some(module), |module| self.modules[*module].parent).collect();
        ancestry.reverse();
        ancestry
    }

    /// Returns the positions and paths of the imports of a module with this binding. Imports in functions are included
    /// only if `inside`.
    pub(crate) fn imports(
        &self,
        module: ModuleId,
        inside: bool,
        wanted: impl Fn(&Binding) -> bool,
    ) -> impl Iterator<Item = (usize, &[String])> {
        let imports = self.modules[module].content.imports.iter().enumerate();
        imports
            .filter(move |(_, import)| (inside || !import.local) && wanted(&import.binding))
            .map(|(position, import)| (position, &import.path.segments[..]))
    }

    /// Returns the module whose macro of this name is exported from the root by `#[macro_export]`.
    pub(crate) fn exporter(&self, name: &str) -> Option<ModuleId> {
        self.modules
            .iter()
            .position(|module| module.content.exported_macros.iter().any(|known| known == name))
    }

    fn add_file(
        &mut self,
        name: String,
        parent: Option<ModuleId>,
        file: &Path,
        folder: &Path,
        read: Read<'_>,
    ) -> Result<Option<ModuleId>, String> {
        let parsed = self.parse_file(file, read)?;
        if !is_compiled(&parsed.attrs) {
            return Ok(None);
        }
        let module = self.add_module(name, parent, file);
        self.add_items(module, parsed.items, file, folder, read)?;
        Ok(Some(module))
    }

    fn add_module(&mut self, name: String, parent: Option<ModuleId>, file: &Path) -> ModuleId {
        let (children, content) = (BTreeMap::new(), Content::default());
        self.modules.push(Module { name, parent, file: file.to_owned(), children, content });
        self.modules.len() - 1
    }

    /// Adds items. `folder` contains the files of child modules.
    fn add_items(
        &mut self,
        module: ModuleId,
        items: Vec<Item>,
        file: &Path,
        folder: &Path,
        read: Read<'_>,
    ) -> Result<(), String> {
        for item in items {
            match item {
                Item::Mod(child) if is_compiled(&child.attrs) => {
                    self.add_child(module, child, file, folder, read)?;
                }
                Item::Mod(test) => self.tests.push(folder.join(test.ident.unraw().to_string())),
                Item::Macro(item) if item.mac.path.is_ident("include") => {
                    let Ok(Lit::Str(included)) = item.mac.parse_body() else { continue };
                    let included = file.with_file_name(included.value());
                    let items = self.parse_file(&included, read)?.items;
                    self.add_items(module, items, &included, folder, read)?;
                }
                item => self.modules[module].content.add(&item),
            }
        }
        Ok(())
    }

    fn add_child(
        &mut self,
        parent: ModuleId,
        child: ItemMod,
        file: &Path,
        folder: &Path,
        read: Read<'_>,
    ) -> Result<(), String> {
        let name = child.ident.unraw().to_string();
        let below = folder.join(&name);
        let added = match child.content {
            Some((_, items)) => {
                let module = self.add_module(name.clone(), Some(parent), file);
                self.add_items(module, items, file, &below, read)?;
                Some(module)
            }
            None => {
                let (file, below) = match path_attribute(&child.attrs) {
                    // The child modules of such a file are in the folder of the file.
                    Some(path) => {
                        let file = file.with_file_name(path);
                        (file.clone(), file.parent().unwrap_or(folder).to_owned())
                    }
                    None => (folder.join(format!("{name}.rs")), below),
                };
                self.add_file(name.clone(), Some(parent), &file, &below, read)?
            }
        };
        if let Some(added) = added {
            self.modules[parent].children.insert(name, added);
        }
        Ok(())
    }

    fn parse_file(&mut self, file: &Path, read: Read<'_>) -> Result<syn::File, String> {
        self.files.insert(file.to_owned());
        let text = read(file).ok_or_else(|| format!("cannot read {}", file.display()))?;
        syn::parse_file(&text).map_err(|error| {
            format!("{}:{} is not valid Rust: {error}", file.display(), error.span().start().line)
        })
    }
}
