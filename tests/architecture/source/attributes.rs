//! Attributes: conditional compilation, file paths of modules, and paths in arguments.

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ExprLit, ImplItem, Item, Lit, Meta, Token, TraitItem, ext::IdentExt as _,
    punctuated::Punctuated,
};

use super::tokens;

/// Returns whether an item with these attributes is part of a build other than tests and documentation.
pub(crate) fn is_compiled(attributes: &[Attribute]) -> bool {
    let cfg = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
    !cfg.filter_map(|attribute| attribute.parse_args::<Meta>().ok()).any(|predicate| needs_test(&predicate))
}

/// Returns whether the predicate is true only in tests and documentation.
fn needs_test(predicate: &Meta) -> bool {
    let inner = |list: &syn::MetaList| {
        let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        inner.map(|inner| inner.into_iter().collect::<Vec<_>>()).unwrap_or_default()
    };
    match predicate {
        Meta::Path(path) => ["test", "doc", "doctest"].iter().any(|name| path.is_ident(name)),
        Meta::List(list) if list.path.is_ident("all") => inner(list).iter().any(needs_test),
        Meta::List(list) if list.path.is_ident("any") => inner(list).iter().all(needs_test),
        _ => false,
    }
}

/// Returns the file in `#[path = "…"]`.
pub(crate) fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(file), .. }) => Some(file.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Calls `found` with each path of at least two segments in the arguments, also in strings (`#[serde(with =
/// "crate::a")]`). Single names are plain arguments, and links in documentation are not imports.
pub(crate) fn paths(attribute: &Attribute, found: &mut dyn FnMut(Vec<String>, usize)) {
    if let Meta::List(list) = &attribute.meta {
        let mut several = |segments: Vec<String>, line| {
            if segments.len() > 1 {
                found(segments, line);
            }
        };
        tokens::paths(list.tokens.clone(), &mut several);
        strings(list.tokens.clone(), &mut several);
    }
}

fn strings(tokens: TokenStream, found: &mut dyn FnMut(Vec<String>, usize)) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => strings(group.stream(), found),
            TokenTree::Literal(literal) => {
                if let Ok(Lit::Str(text)) = syn::parse_str(&literal.to_string())
                    && let Ok(path) = text.parse::<syn::Path>()
                {
                    let segments = path.segments.iter().map(|segment| segment.ident.unraw().to_string());
                    found(segments.collect(), literal.span().start().line);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

pub(crate) fn of_item(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub(crate) fn of_impl_item(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}

pub(crate) fn of_trait_item(item: &TraitItem) -> &[Attribute] {
    match item {
        TraitItem::Const(item) => &item.attrs,
        TraitItem::Fn(item) => &item.attrs,
        TraitItem::Type(item) => &item.attrs,
        TraitItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}
