//! Each program of `tests/programs`, by itself, with the sanitizers, and under valgrind.

use std::{ffi::OsString, fs, path::Path, process::Command};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::{
    arguments,
    library::{compile, loadable, manifest_dir, shared_library, succeed},
    needs::Needs,
    world::World,
};

/// How a program is compiled and run.
#[derive(Clone, Copy)]
enum How {
    Plain,
    /// With the address and undefined behaviour sanitizers on C's side, which see the allocations of both.
    Sanitized,
    Valgrind,
}

struct Program {
    name: String,
    dir: TempDir,
    libraries: TempDir,
    how: How,
}

impl Program {
    fn compiled(name: &str, how: How) -> Self {
        let (dir, libraries) = (tempfile::tempdir().unwrap(), loadable());
        let folder = manifest_dir().join("tests/programs");
        let mut source = folder.join(name).with_extension("c");
        if name == GENERATED {
            source = dir.path().join("program.c");
            fs::write(&source, arguments::program()).unwrap();
        }
        let include = format!("-I{}", folder.display());
        let search = format!("-L{}", libraries.path().display());
        let load = format!("-Wl,-rpath,{}", libraries.path().display());
        let mut arguments = vec!["-std=c11", "-D_GNU_SOURCE", "-pthread", &include, &search, &load];
        // One that loads the library itself must not be linked with it.
        if name != "load" {
            arguments.push("-lsidestep");
        }
        if let How::Sanitized = how {
            // Thousands are enough of those: a quarter of the speed, and more than twice the memory.
            arguments.extend(["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DMOST=2000"]);
        }
        if let How::Valgrind = how {
            // One instruction is twenty there.
            arguments.extend(["-DPATIENCE=300000", "-DROUNDS=2"]);
        }
        compile("cc", &arguments, &source, &dir.path().join("program"));
        Self { name: name.to_owned(), dir, libraries, how }
    }

    fn run(&self, arguments: &[OsString]) {
        let program = self.dir.path().join("program");
        let mut command = match self.how {
            How::Valgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args([
                    "-q",
                    "--error-exitcode=99",
                    "--leak-check=full",
                    "--show-leak-kinds=definite",
                ]);
                valgrind.args(["--errors-for-leak-kinds=definite", "--fair-sched=yes"]);
                // What a parent has made is left as it is in its children, where it cannot be ended.
                valgrind.args((self.name == "forks").then_some("--leak-check=no"));
                valgrind.arg(program);
                valgrind
            }
            How::Plain | How::Sanitized => Command::new(program),
        };
        command.args(arguments).env_remove("LD_PRELOAD");
        command.env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0");
        command.current_dir(self.libraries.path());
        succeed(&mut command);
    }
}

/// Runs a program beside a mesh: VM files, upstream DNS and a scratch folder are its arguments.
fn run(name: &str, how: How) {
    let program = Program::compiled(name, how);
    let world = World::start();
    let scratch = tempfile::tempdir().unwrap();
    let path = |path: &Path| path.as_os_str().to_owned();
    program.run(&[path(world.vm_files()), world.upstream().into(), path(scratch.path())]);
}

/// Each program, and what it shows.
const PROGRAMS: &[(&str, &str)] = &[
    ("arguments", "every_function_refuses_each_bad_argument_by_a_status"),
    ("misuse", "what_is_wrong_with_arguments_and_handles_is_a_status"),
    ("addresses", "addresses_are_the_systems_for_literals_and_the_meshs_for_names"),
    ("connections", "connections_are_descriptors_that_end_as_sockets_do"),
    ("streams", "streams_are_read_and_written_by_calls"),
    ("forks", "a_forked_child_is_told_and_may_join_for_itself"),
    ("leaving", "a_program_may_end_in_each_way_while_connections_are_open"),
    ("load", "the_library_may_be_loaded_and_unloaded"),
    ("events", "operations_are_fetched_when_a_descriptor_is_readable"),
    ("callbacks", "a_log_callback_may_call_what_does_not_block"),
    ("listeners", "bridge_and_dns_serve_clients_that_take_nothing_else"),
    ("tells", "explanations_health_and_metrics_are_texts"),
    ("leftovers", "what_is_freed_leaves_no_thread_and_no_descriptor"),
    ("limits", "without_descriptors_each_call_says_so_and_nothing_is_lost"),
    ("many", "thousands_of_descriptors_are_served"),
];

/// The one that is made from the header.
const GENERATED: &str = "arguments";

/// Those that valgrind is not asked about: it is itself in what they look at or run out of.
const NOT_UNDER_VALGRIND: &[&str] = &[
    // Valgrind's own descriptors and threads are among what is counted.
    "leftovers",
    // Valgrind gives no descriptor beyond the limit that it started with, and takes minutes for thousands of handshakes.
    "many",
];

/// Each program by itself and with the sanitizers; under valgrind, which takes minutes, only where it is asked for
/// (`-- --ignored valgrind`).
pub(crate) fn trials(needs: &mut Needs) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, what) in PROGRAMS {
        trials.push(needs.trial(format!("programs::{what}"), &["cc"], || run(name, How::Plain)));
        let sanitized = format!("programs::sanitized::{what}");
        trials.push(needs.trial(sanitized, &["cc"], || run(name, How::Sanitized)));
        if !NOT_UNDER_VALGRIND.contains(name) {
            let valgrind = format!("programs::valgrind::{what}");
            let trial = needs.trial(valgrind, &["cc", "valgrind"], || run(name, How::Valgrind));
            trials.push(trial.with_ignored_flag(true));
        }
    }
    trials
}

pub(crate) fn every_program_is_run() {
    let entries = fs::read_dir(manifest_dir().join("tests/programs")).unwrap();
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let written = PROGRAMS.iter().map(|(name, _)| *name).filter(|name| *name != GENERATED);
    let mut named: Vec<_> = written.collect();
    found.sort_unstable();
    named.sort_unstable();
    assert_eq!(found, named);
}

pub(crate) fn sanitized_programs_have_the_sanitizer_in_them() {
    let program = Program::compiled("misuse", How::Sanitized);
    let symbols = succeed(Command::new("nm").arg(program.dir.path().join("program")));
    assert!(symbols.contains("__asan_init"), "no sanitizer in {}", shared_library().display());
}
