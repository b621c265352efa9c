//! The examples, built with the installed library by CMake and by pkg-config.

use std::{fs, path::Path, process::Command};

use mesh_tests::machine::has_program;

use crate::{
    installed::Installed,
    library::{manifest_dir, succeed},
    test_mesh::TestMesh,
};

/// The identity of the examples.
const IDENTITY: &str = "spiffe://cluster.local/ns/vms/sa/edge-app";

/// The examples, each with its compiler and the other library that it needs.
const EXAMPLES: [(&str, &str, Option<&str>); 7] = [
    ("blocking.c", "cc", None),
    ("events.c", "cc", None),
    ("request.cc", "c++", None),
    ("curl.c", "cc", Some("libcurl")),
    ("curl_multi.c", "cc", Some("libcurl")),
    ("curl_queue.c", "cc", Some("libcurl")),
    ("postgres.c", "cc", Some("libpq")),
];

/// The examples that are run. The others need a database server or a certain version of libcurl; the test `examples` and the
/// interop tests run them.
const RUN: [&str; 5] = ["blocking", "events", "request", "curl", "curl_multi"];

fn examples() -> impl Iterator<Item = (&'static str, &'static str, Option<&'static str>)> {
    let exists = |library| {
        Command::new("pkg-config").args(["--exists", library]).status().is_ok_and(|it| it.success())
    };
    EXAMPLES.into_iter().filter(move |(.., library)| library.is_none_or(exists))
}

fn runs(installed: &Installed, mesh: &TestMesh, folder: &Path, name: &str) {
    let output = installed.run(folder.join(name), &[mesh.vm_files()]);
    assert!(output.contains(IDENTITY) || output.contains("request "), "{name}: {output}");
}

fn stem(source: &str) -> &str {
    source.split('.').next().unwrap()
}

pub(crate) fn the_examples_are_built_by_cmake_and_run() {
    let (installed, mesh) = (Installed::shared(), TestMesh::start());
    let gcc = ["-DCMAKE_C_COMPILER=gcc", "-DCMAKE_CXX_COMPILER=g++"];
    let clang = ["-DCMAKE_C_COMPILER=clang", "-DCMAKE_CXX_COMPILER=clang++"];
    for compilers in [gcc, clang].iter().filter(|[c, _]| has_program(c.rsplit('=').next().unwrap())) {
        let build = installed.cmake(&manifest_dir().join("examples"), compilers);
        for (source, ..) in examples() {
            assert!(build.join(stem(source)).is_file(), "{source} was not built");
        }
        let built = RUN.into_iter().filter(|name| build.join(name).is_file());
        built.chain(["blocking-static"]).for_each(|name| runs(&installed, &mesh, &build, name));
    }
}

pub(crate) fn the_examples_are_built_by_pkg_config_and_run() {
    let (installed, mesh) = (Installed::shared(), TestMesh::start());
    let flags = installed.pkg_config(&["--cflags", "--libs"]);
    for (source, compiler, library) in examples() {
        let mut compile = Command::new(compiler);
        compile
            .arg("-o")
            .arg(installed.path(stem(source)))
            .arg(manifest_dir().join("examples").join(source))
            .args(&flags);
        if let Some(library) = library {
            let more = succeed(Command::new("pkg-config").args(["--cflags", "--libs", library]));
            compile.args(more.split_whitespace());
        }
        succeed(&mut compile);
        if RUN.contains(&stem(source)) {
            runs(&installed, &mesh, &installed.path(""), stem(source));
        }
    }
}

/// Checks that `CMakeLists.txt` and these tests contain every example.
pub(crate) fn every_example_in_c_is_in_the_project() {
    let folder = manifest_dir().join("examples");
    let lists = fs::read_to_string(folder.join("CMakeLists.txt")).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_code =
            Path::new(&name).extension().is_some_and(|extension| extension == "c" || extension == "cc");
        assert!(!is_code || lists.contains(&format!("example({name}")), "add {name} to CMakeLists.txt");
        assert!(!is_code || EXAMPLES.iter().any(|(source, ..)| *source == name), "add {name} to this test");
    }
}
