//! The examples, as their users build and run them.

use std::{path::PathBuf, process::Command};

use crate::{
    library::{compile, loadable, manifest_dir, succeed},
    world::World,
};

const US: &str = "spiffe://cluster.local/ns/vms/sa/edge-app";

fn example(name: &str) -> PathBuf {
    manifest_dir().join("examples").join(name)
}

/// Compiles an example, runs it beside a mesh, and returns what it said.
fn run(name: &str, compiler: &str, arguments: &[&str]) -> String {
    let (dir, libraries, world) = (tempfile::tempdir().unwrap(), loadable(), World::start());
    let search = format!("-L{}", libraries.path().display());
    let load = format!("-Wl,-rpath,{}", libraries.path().display());
    let mut all = vec![&*search, &*load, "-lsidestep"];
    all.extend(arguments);
    let program = dir.path().join("program");
    compile(compiler, &all, &example(name), &program);
    succeed(Command::new(program).arg(world.vm_files()))
}

pub(crate) fn a_blocking_request_in_c() {
    let said = run("blocking.c", "cc", &["-std=c11", "-D_GNU_SOURCE"]);
    assert!(said.starts_with("HTTP/1.1 200") && said.contains(US), "{said}");
}

pub(crate) fn requests_by_poll_in_c() {
    let said = run("events.c", "cc", &["-std=c11", "-D_GNU_SOURCE"]);
    assert_eq!(said.lines().filter(|line| line.starts_with("request ")).count(), 8, "{said}");
}

pub(crate) fn a_request_in_cpp() {
    let said = run("request.cc", "c++", &["-std=c++17"]);
    assert!(said.starts_with("HTTP/1.1 200") && said.contains(US), "{said}");
}

pub(crate) fn libcurl_by_proxy_and_by_unix_socket() {
    let said = run("curl.c", "cc", &["-std=c11", "-D_GNU_SOURCE", "-lcurl"]);
    assert_eq!(said.matches(US).count(), 3, "{said}");
}

pub(crate) fn requests_in_python() {
    let (libraries, world) = (loadable(), World::start());
    let mut python = Command::new("python3");
    python.arg(example("request.py")).arg(world.vm_files());
    python.env("PYTHONPATH", manifest_dir().join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    let said = succeed(python.env("SIDESTEP_LIBRARY", libraries.path().join("libsidestep.so")));
    assert!(said.matches(US).count() == 2 && said.contains("as expected"), "{said}");
}

pub(crate) fn a_request_in_go() {
    let (dir, libraries, world) = (tempfile::tempdir().unwrap(), loadable(), World::start());
    let (include, program) = (manifest_dir().join("include"), dir.path().join("program"));
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).arg(".").current_dir(example("go"));
    go.env("CGO_CFLAGS", format!("-I{}", include.display()));
    let libraries = libraries.path().display();
    go.env("CGO_LDFLAGS", format!("-L{libraries} -lsidestep -Wl,-rpath,{libraries}"));
    succeed(go.env("GOFLAGS", "-buildvcs=false"));
    let said = succeed(Command::new(program).arg(world.vm_files()));
    assert!(said.starts_with("200 OK") && said.contains(US), "{said}");
}
