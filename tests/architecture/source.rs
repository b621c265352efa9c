//! The content of a module: its items, its imports, and the paths that it uses.

mod attributes;
mod tokens;

use std::collections::BTreeSet;

use syn::{
    Attribute, ImplItem, Item, ItemUse, Macro, TraitItem, UseTree,
    ext::IdentExt as _,
    visit::{self, Visit},
};

pub(crate) use self::attributes::{is_compiled, path_attribute};

/// A path in the source, such as `crate::a::b`.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// One leaf of a `use` declaration.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) path: Path,
    pub(crate) binding: Binding,
    /// Whether the declaration is inside a function and invisible to other modules.
    pub(crate) local: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Binding {
    Name(String),
    /// `*`
    Glob,
    /// `as _`
    Anonymous,
}

/// The content of one module without its child modules.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// The names of types, traits, functions, values and macros.
    pub(crate) items: BTreeSet<String>,
    /// Macros that `#[macro_export]` exports from the crate root.
    pub(crate) exported_macros: Vec<String>,
    pub(crate) imports: Vec<Import>,
    /// All paths outside `use` declarations.
    pub(crate) paths: Vec<Path>,
    in_item: bool,
}

impl Content {
    /// Adds an item that is neither a module nor an `include!`.
    pub(crate) fn add(&mut self, item: &Item) {
        self.items.extend(defined_name(item));
        if let Item::Macro(item) = item
            && let Some(name) = &item.ident
            && item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export"))
        {
            self.exported_macros.push(name.unraw().to_string());
        }
        self.in_item = !matches!(item, Item::Use(_));
        self.visit_item(item);
    }

    /// Adds a path from a part of the source that syn does not parse.
    pub(crate) fn add_path(&mut self, segments: Vec<String>, line: usize) {
        self.paths.push(Path { segments, line });
    }

    fn add_use(&mut self, tree: &UseTree, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let (span, binding) = match tree {
            UseTree::Path(path) => {
                segments.push(path.ident.unraw().to_string());
                return self.add_use(&path.tree, &segments);
            }
            UseTree::Group(group) => return group.items.iter().for_each(|tree| self.add_use(tree, prefix)),
            UseTree::Glob(glob) => (glob.star_token.span, Binding::Glob),
            UseTree::Name(name) => {
                if name.ident != "self" {
                    segments.push(name.ident.unraw().to_string());
                }
                let bound = segments.last().cloned();
                (name.ident.span(), bound.map_or(Binding::Anonymous, Binding::Name))
            }
            UseTree::Rename(rename) => {
                if rename.ident != "self" {
                    segments.push(rename.ident.unraw().to_string());
                }
                let bound = Some(rename.rename.unraw().to_string()).filter(|name| name != "_");
                (rename.ident.span(), bound.map_or(Binding::Anonymous, Binding::Name))
            }
        };
        let path = Path { segments, line: span.start().line };
        self.imports.push(Import { path, binding, local: self.in_item });
    }
}

impl<'ast> Visit<'ast> for Content {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_compiled(attributes::of_item(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if is_compiled(attributes::of_impl_item(item)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if is_compiled(attributes::of_trait_item(item)) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // `use ::name` names another crate.
        if item.leading_colon.is_none() {
            self.add_use(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let segments = path.segments.iter().map(|segment| segment.ident.unraw().to_string()).collect();
            self.add_path(segments, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        self.visit_path(&invocation.path);
        tokens::paths(invocation.tokens.clone(), &mut |segments, line| self.add_path(segments, line));
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        attributes::paths(attribute, &mut |segments, line| self.add_path(segments, line));
    }
}

fn defined_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.unraw().to_string())
}
