//! The licences of other authors' code in the library.

use std::{collections::BTreeMap, fs, process::Command};

use crate::{
    installed::Installed,
    library::{manifest_dir, succeed},
};

/// Parts of the library that are not packages of their own: Rust's standard library, and C code in `aws-lc-sys`.
const INSIDE: [&str; 5] =
    ["Rust's standard library", "OpenSSL", "the fiat-crypto authors", "s2n-bignum", "Stephan Mueller"];

pub(crate) fn every_package_in_the_library_has_its_licence_text_and_copyright() {
    let doc = Installed::shared().prefix().join("share/doc/sidestep");
    let notices = fs::read_to_string(doc.join("THIRD-PARTY-LICENSES")).unwrap();
    let texts = by_package(&notices);

    let mut tree = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    tree.args(["tree", "--locked", "--offline", "-p", "sidestep-ffi", "-e", "normal", "--prefix", "none"]);
    let tree = succeed(tree.current_dir(manifest_dir()));
    let packages: Vec<_> = tree.lines().filter(|line| !line.is_empty() && !line.contains("(/")).collect();
    assert!(packages.len() > 100, "{tree}");
    for package in packages {
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap().trim_start_matches('v'));
        let text =
            texts.get(&*format!("{name} {version}")).unwrap_or_else(|| panic!("no licence of {package}"));
        assert!(text.len() > 400, "{package}: {text}");
        let text = text.to_lowercase();
        assert!(text.contains("copyright") || text.contains("public domain"), "{package}: {text}");
    }
    for inside in INSIDE {
        assert!(notices.contains(inside), "{inside}");
    }
    for own in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(doc.join(own).is_file(), "{own} is missing");
    }
}

/// Returns the texts of each package, by name and version.
fn by_package(notices: &str) -> BTreeMap<&str, String> {
    let line = format!("\n{}\n", "-".repeat(100));
    let mut parts = notices.split(&*line).skip(1);
    let mut texts = BTreeMap::<_, String>::new();
    while let (Some(packages), Some(text)) = (parts.next(), parts.next()) {
        for package in packages.lines() {
            // After the name and the version is the licence in parentheses.
            texts.entry(package.split(" (").next().unwrap()).or_default().push_str(text);
        }
    }
    texts
}
