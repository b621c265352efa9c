//! The types of other crates that an API names.

use std::collections::BTreeSet;

/// The paths in these items that belong neither to the crate nor to the standard library.
pub(crate) fn types(package: &str, items: &BTreeSet<String>) -> BTreeSet<String> {
    let own = package.replace('-', "_");
    let paths = items.iter().flat_map(|item| paths(item));
    let foreign = paths.filter(|path| {
        let root = path.split("::").next().unwrap_or_default();
        ![own.as_str(), "std", "core", "alloc"].contains(&root)
    });
    foreign.collect()
}

/// The paths with at least two segments that start with a crate.
fn paths(item: &str) -> Vec<String> {
    let separators = |character: char| !(character.is_alphanumeric() || character == '_' || character == ':');
    let words = item.split(separators).map(|word| word.trim_matches(':'));
    let is_path = |word: &&str| {
        word.contains("::")
            && word.starts_with(|first: char| first.is_lowercase())
            && !word.starts_with("self::")
    };
    words.filter(is_path).map(str::to_owned).collect()
}

pub(crate) fn finds_types_of_other_crates() {
    let items = [
        "pub fn a_crate::Thing::new(rustls::CryptoProvider, &[u8]) -> core::result::Result<a_crate::Thing, a_crate::Error>",
        "impl<T: serde::Serialize> a_crate::Trait for T",
    ];
    let found = types("a-crate", &items.into_iter().map(str::to_owned).collect());
    let expected = ["rustls::CryptoProvider", "serde::Serialize"];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
}
