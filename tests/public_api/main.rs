//! The public API of each published crate, and the types of other crates in it, compared with the lists in `.ci/public-api`.
//!
//! `NAME.txt` has every public item with all features. `NAME.foreign.txt` has the types and traits of other crates that
//! the API without adapters names. `SIDESTEP_REGENERATE=1` writes both. A difference is a change of the API: it belongs
//! into the changelog.
//!
//! The lists come from rustdoc's JSON, which is unstable. Only rustdoc runs with `RUSTC_BOOTSTRAP`, so cargo rebuilds nothing
//! else for it. A toolchain whose JSON the crate `public-api` cannot read is reported, and the tests are ignored.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod foreign;
mod rustdoc;

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Failed, Trial};
use public_api::PublicApi;

/// The published crates with the features that have no adapter of another library.
const CRATES: [(&str, &[&str]); 6] = [
    ("sidestep-util", &[]),
    ("xds-proto", &[]),
    ("nds-client", &["aws-lc-rs", "metrics"]),
    ("mesh-resolver", &["aws-lc-rs", "metrics", "listener"]),
    ("mesh-connector", &["aws-lc-rs", "metrics", "bridge"]),
    ("mesh-sandbox", &[]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Builds wait for each other.
    arguments.test_threads = Some(1);
    let unreadable = !arguments.list && is_unreadable();
    let mut trials = Vec::new();
    for (name, core) in CRATES {
        trials.push(Trial::test(
            format!("public_items_of_{}_are_those_of_the_list", name.replace('-', "_")),
            move || {
                let api = api(name, &["--all-features".to_owned()])?;
                compare(&format!("{name}.txt"), &items(&api))
            },
        ));
        trials.push(Trial::test(
            format!("foreign_types_of_{}_are_those_of_the_list", name.replace('-', "_")),
            move || {
                let features = ["--no-default-features".to_owned(), format!("--features={}", core.join(","))];
                let api = api(name, &features)?;
                compare(&format!("{name}.foreign.txt"), &foreign::types(name, &items(&api)))
            },
        ));
    }
    trials.push(Trial::test("a_foreign_type_is_found_in_a_signature", || {
        foreign::finds_types_of_other_crates();
        Ok(())
    }));
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(unreadable)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// Whether this toolchain writes a version of the JSON that `public-api` does not know.
fn is_unreadable() -> bool {
    let api = api("sidestep-util", &["--all-features".to_owned()]);
    let reason = api.err().and_then(|error| error.message().map(str::to_owned)).unwrap_or_default();
    let unreadable = reason.contains("format version") || reason.contains("rustdoc JSON");
    if unreadable {
        // The harness shows only what failed tests print.
        io::stderr().write_all(format!("the public API is not checked: {reason}\n").as_bytes()).unwrap();
    }
    unreadable
}

fn api(name: &str, features: &[String]) -> Result<PublicApi, Failed> {
    let json = rustdoc::json(root(), name, features)?;
    // Implementations that the compiler derives or provides for every type say nothing about this API.
    let builder =
        public_api::Builder::from_rustdoc_json(json).omit_blanket_impls(true).omit_auto_trait_impls(true);
    Ok(builder.omit_auto_derived_impls(true).build()?)
}

fn items(api: &PublicApi) -> BTreeSet<String> {
    api.items().map(ToString::to_string).collect()
}

/// Fails with the lines that differ, or writes the list.
fn compare(list: &str, actual: &BTreeSet<String>) -> Result<(), Failed> {
    let file: PathBuf = root().join(".ci/public-api").join(list);
    if env::var_os("SIDESTEP_REGENERATE").is_some() {
        fs::create_dir_all(file.parent().unwrap())?;
        let text: String = actual.iter().flat_map(|line| [line, "\n"]).collect();
        return Ok(fs::write(file, text)?);
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let expected: BTreeSet<_> = text.lines().map(str::to_owned).collect();
    let removed = expected.difference(actual).map(|line| format!("- {line}"));
    let added = actual.difference(&expected).map(|line| format!("+ {line}"));
    let changes: Vec<_> = removed.chain(added).collect();
    if changes.is_empty() {
        return Ok(());
    }
    let help = "Note the change in CHANGELOG.md, then run `SIDESTEP_REGENERATE=1 cargo test -p mesh-tests --test public_api`.";
    Err(format!("{} differs:\n{}\n{help}", file.display(), changes.join("\n")).into())
}
