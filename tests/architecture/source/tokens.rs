//! Paths in the tokens of a macro, which syn does not parse.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;

/// Calls `found` with each path and its line.
pub(crate) fn paths(tokens: TokenStream, found: &mut dyn FnMut(Vec<String>, usize)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut rest = &tokens[..];
    while let [first, after @ ..] = rest {
        let before = &tokens[..tokens.len() - rest.len()];
        rest = after;
        match first {
            TokenTree::Group(group) => paths(group.stream(), found),
            TokenTree::Ident(name) => {
                let line = name.span().start().line;
                let starts = starts_path(before, name == "crate");
                let mut segments = vec![name.unraw().to_string()];
                while let [colon, other, TokenTree::Ident(name), after @ ..] = rest
                    && is(colon, ':')
                    && is(other, ':')
                {
                    segments.push(name.unraw().to_string());
                    rest = after;
                }
                if starts {
                    found(segments, line);
                }
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Returns whether a name after these tokens starts a path. It does not if it is a field or method, a lifetime, a macro
/// variable, or the rest of a path such as `<T as Trait>::name` or `::name`.
fn starts_path(before: &[TokenTree], is_crate: bool) -> bool {
    match before {
        [.., first, second] if is(second, '.') => is(first, '.'),
        [.., first, second] if is(second, ':') => !is(first, ':'),
        [.., last] if is(last, '$') => is_crate,
        [.., last] => !is(last, '\'') && !is(last, '.'),
        [] => true,
    }
}

fn is(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}
