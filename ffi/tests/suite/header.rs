//! The header `include/sidestep.h`: it is generated from the crate, and compilers accept it without warnings.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    declarations::{code, constants, functions, header},
    library::{compile, manifest_dir, strict},
};

/// The sections of the header in reading order, each with the modules whose items it contains.
const SECTIONS: [(&str, &[&str]); 15] = [
    ("Version and compiler support", &["version"]),
    // Handle types have no module of their own: see `is_handle`.
    ("Handles", &[]),
    ("Status codes", &["status"]),
    ("Errors", &["error"]),
    ("Texts", &["text"]),
    ("Log levels and the log callback", &["log"]),
    ("Settings", &["settings"]),
    ("Meshes", &["mesh"]),
    ("Connections as descriptors", &["connect", "connection"]),
    ("Streams", &["stream"]),
    ("Name resolution", &["getaddrinfo", "addresses"]),
    (
        "Queues, for event loops",
        &["completion", "queue", "queue/start", "queue/bridge_operations", "queue/dns_operations"],
    ),
    (
        "Bridges, for clients that accept neither a descriptor nor a resolver",
        &["bridge", "bridge/listen", "bridge/resolve"],
    ),
    ("DNS servers", &["dns"]),
    ("Diagnostics", &["explain", "metrics"]),
];

const BEGIN: &str = "#ifdef __cplusplus\nextern \"C\" {\n#endif";
/// A declaration for programs that are compiled with a plain C standard, which hides `struct addrinfo` in netdb.h.
const ADDRINFO: &str = "/* Defined by netdb.h. */\nstruct addrinfo;\n";
const END: &str = "#ifdef __cplusplus\n}  // extern \"C\"\n#endif";

fn modules() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().flat_map(|(_, modules)| *modules).copied()
}

/// Returns the source file of a module.
fn source(module: &str) -> PathBuf {
    manifest_dir().join(format!("src/{module}.rs"))
}

/// Returns the declaration of an item of the header, which follows its comment.
fn declaration(item: &str) -> &str {
    item.split_once("*/").unwrap().1.trim_start()
}

/// Whether an item declares the type of a handle.
fn is_handle(item: &str) -> bool {
    declaration(item).starts_with("typedef struct sidestep_")
}

/// Returns the name that an item declares.
fn name(item: &str) -> String {
    let declaration = declaration(item);
    let is_name = |word: &&str| word.to_lowercase().starts_with("sidestep_") && *word != "SIDESTEP_MUST_USE";
    let mut words = declaration.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_name);
    let before_list = declaration.split('(').next().unwrap();
    if declaration.starts_with("#define ") || declaration.contains("(*sidestep_") {
        return words.next().unwrap().to_owned();
    }
    if declaration.starts_with("#if ") {
        return "SIDESTEP_VERSION_NUMBER".to_owned();
    }
    if declaration.starts_with("typedef ") {
        return words.next_back().unwrap().to_owned();
    }
    before_list.rsplit([' ', '*', '\n']).next().unwrap().to_owned()
}

/// Whether an item is a status code.
fn is_status(item: &str) -> bool {
    declaration(item).starts_with("#define SIDESTEP_OK ")
        || declaration(item).starts_with("#define SIDESTEP_E_")
}

/// Turns the comments of the status codes, which have the form `MEANING. (ERRNO, transient)`, into a table.
fn status_table(items: &[&str]) -> String {
    let row = |status: &str, errno: &str, transient: &str, meaning: &str| {
        format!(" * {status:<31} | {errno:<13} | {transient:<9} | {meaning}\n")
    };
    let mut table = row("status", "errno", "transient", "meaning");
    table += &format!(" * {}|{}|{}|{}\n", "-".repeat(32), "-".repeat(15), "-".repeat(11), "-".repeat(54));
    let mut defines = String::new();
    for item in items {
        let comment = item.lines().nth(1).unwrap().trim_start_matches(" * ");
        let (meaning, properties) = comment.split_once(" (`").unwrap_or((comment, "0`)"));
        let errno = properties.split('`').next().unwrap();
        let transient = if properties.contains(", transient") { "yes" } else { "" };
        table += &row(&name(item), errno, transient, meaning.trim_end_matches('.'));
        defines += &format!("{}\n", declaration(item));
    }
    format!("/**\n{table} */\n{}", defines.trim_end())
}

/// Moves the items of the generated header into sections.
fn with_sections(generated: &str) -> String {
    let (start, rest) = generated.split_once("#include <stdint.h>\n").unwrap();
    let (body, end) = rest.rsplit_once("\n#endif  /*").unwrap();
    let sources: Vec<_> =
        modules().map(|module| (module, fs::read_to_string(source(module)).unwrap())).collect();
    let module_of = |name: &str| {
        let forms = ["fn {}(", "const {}:", "struct {}", "type {} "].map(|form| form.replace("{}", name));
        let found = sources.iter().find(|(_, text)| forms.iter().any(|form| text.contains(form)));
        found.map_or("version", |(module, _)| module)
    };
    let mut items: Vec<_> =
        body.split("\n\n").map(str::trim).filter(|item| item.starts_with("/**")).collect();
    let mut text = format!("{start}#include <stdint.h>\n\n{BEGIN}\n\n{ADDRINFO}");
    for (title, modules) in SECTIONS {
        let belongs = |item: &str| match is_handle(item) {
            true => modules.is_empty(),
            false => modules.contains(&module_of(&name(item))),
        };
        let (section, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| belongs(item));
        items = others;
        text += &format!("\n/* ---- {title} {} */\n\n", "-".repeat(100 - title.len()));
        let statuses: Vec<_> = section.iter().copied().filter(|item| is_status(item)).collect();
        let mut parts: Vec<_> = section.iter().map(|item| (*item).to_owned()).collect();
        if let Some(first) = section.iter().position(|item| is_status(item)) {
            parts.splice(first..first + statuses.len(), [status_table(&statuses)]);
        }
        text += &parts.join("\n\n");
        text.push('\n');
    }
    assert!(items.is_empty(), "items without a section: {items:?}");
    format!("{text}\n{END}\n\n#endif  /*{end}")
}

pub(crate) fn the_header_equals_the_header_that_the_crate_generates() {
    let file = manifest_dir().join("include/sidestep.h");
    let mut config = cbindgen::Config::from_file(manifest_dir().join("cbindgen.toml")).unwrap();
    let macros = config.after_includes.take().unwrap();
    config.after_includes = Some(macros.replace("@VERSION@", env!("CARGO_PKG_VERSION")));
    let builder = modules().fold(cbindgen::Builder::new().with_config(config), |builder, module| {
        builder.with_src(source(module))
    });
    let mut generated = Vec::new();
    builder.generate().unwrap().write(&mut generated);
    let generated = with_sections(&String::from_utf8(generated).unwrap());
    if std::env::var_os("SIDESTEP_REGENERATE").is_some() {
        fs::write(&file, &generated).unwrap();
    }
    assert!(
        generated == header(),
        "include/sidestep.h is out of date. Run SIDESTEP_REGENERATE=1 cargo test -p sidestep-ffi --test suite header"
    );
}

pub(crate) fn every_exported_function_is_in_the_header() {
    let header = header();
    let mut count = 0;
    for source in sources(&manifest_dir().join("src")) {
        let text = fs::read_to_string(&source).unwrap();
        for (_, rest) in
            text.match_indices("extern \"C\" fn sidestep_").map(|(at, what)| text[at..].split_at(what.len()))
        {
            let name = rest.split('(').next().unwrap();
            assert!(header.contains(&format!("sidestep_{name}(")), "sidestep_{name} of {}", source.display());
            count += 1;
        }
    }
    assert!(count > 40, "only {count} functions");
}

/// A code that no function returns would be a promise without a meaning.
pub(crate) fn every_status_code_is_returned_by_some_function() {
    let uses = sources(&manifest_dir().join("src")).into_iter().map(|source| {
        let text = fs::read_to_string(&source).unwrap();
        // In status.rs, only the conversion of error kinds returns codes.
        let (_, conversion) = text.split_once("pub(crate) fn of(").unwrap_or(("", &text));
        conversion.split("pub(crate) fn eai(").next().unwrap().to_owned()
    });
    let uses: String = uses.collect();
    let words: Vec<_> = uses.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for (name, _) in constants().iter().filter(|(name, _)| name.starts_with("SIDESTEP_E_")) {
        assert!(words.contains(&&**name), "no function returns {name}");
    }
}

/// The exceptions are `sidestep_..._free`, as the header explains.
pub(crate) fn every_function_that_returns_a_status_is_marked_must_use() {
    let code = code();
    for function in functions() {
        let is_status = function.returns == "sidestep_status" && !function.name.ends_with("_free");
        let is_resolution = function.returns == "int" && function.name.ends_with("getaddrinfo");
        let (before, _) = code.split_once(&format!("{}(", function.name)).unwrap();
        let (_, line) = before.rsplit_once("\n\n").unwrap();
        assert_eq!(line.contains("SIDESTEP_MUST_USE"), is_status || is_resolution, "{}", function.name);
    }
}

pub(crate) fn c_and_cpp_compilers_accept_the_header_without_warnings() {
    let dir = tempfile::tempdir().unwrap();
    for (compiler, standard, name) in
        [("cc", "c99", "a.c"), ("cc", "c11", "b.c"), ("cc", "c2x", "c.c"), ("c++", "c++17", "d.cc")]
    {
        let source = dir.path().join(name);
        fs::write(&source, "#include <sidestep.h>\nint main(void) { return sidestep_errno(SIDESTEP_OK); }\n")
            .unwrap();
        // Plain C standards hide `struct addrinfo`, which POSIX defines.
        for feature in ["-D_POSIX_C_SOURCE=200809L", "-USIDESTEP"] {
            let standard = format!("-std={standard}");
            compile(compiler, &[&standard, feature, "-c"], &source, &dir.path().join("out.o"));
        }
    }
}

pub(crate) fn the_compiler_warns_of_unused_results_and_of_deprecated_functions() {
    const DEPRECATED: &str =
        "SIDESTEP_DEPRECATED(0.2, \"use another\") int old(void);\n#define CALL return old()\n";
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("program.c");
    for (declared, options, warning) in [
        ("#define CALL sidestep_shutdown(0, 0, 0)\n", "", Some("warn_unused_result")),
        ("#define CALL sidestep_mesh_free(0)\n", "", None),
        (DEPRECATED, "", Some("since 0.2: use another")),
        (DEPRECATED, "-DSIDESTEP_NO_DEPRECATED", None),
    ] {
        let program = format!("#include <sidestep.h>\n{declared}int main(void) {{ CALL; }}\n");
        fs::write(&source, program).unwrap();
        let mut compiler = Command::new("cc");
        strict(&mut compiler).args(["-std=gnu11", "-c", "-o", "/dev/null"]).arg(&source);
        let output = compiler.args((!options.is_empty()).then_some(options)).output().unwrap();
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), warning.is_none(), "{declared}{messages}");
        assert!(warning.is_none_or(|warning| messages.contains(warning)), "{declared}{messages}");
    }
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
