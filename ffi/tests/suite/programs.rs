//! The programs in `tests/programs`. Each is run without tools, with the sanitizers, and under valgrind.

use std::{ffi::OsString, fs, path::Path, process::Command};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::{
    arguments,
    library::{compile, loadable, manifest_dir, shared_library, succeed},
    requirements::Requirements,
    test_mesh::TestMesh,
};

/// The tools with which a program is compiled and run.
#[derive(Clone, Copy)]
enum Tools {
    Plain,
    /// The address and undefined behaviour sanitizers for the C code. They also check the allocations of the library.
    Sanitized,
    Valgrind,
}

struct Program {
    name: String,
    dir: TempDir,
    libraries: TempDir,
    tools: Tools,
}

impl Program {
    fn compiled(name: &str, tools: Tools) -> Self {
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
        // The program that calls `dlopen` must not be linked with the library.
        if name != "load" {
            arguments.push("-lsidestep");
        }
        if let Tools::Sanitized = tools {
            // Fewer connections, because the program runs at a quarter of the speed and needs twice the memory.
            arguments.extend(["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DMOST=2000"]);
        }
        if let Tools::Valgrind = tools {
            // Valgrind runs the program about twenty times slower.
            arguments.extend(["-DTIMEOUT=300000", "-DROUNDS=2"]);
        }
        compile("cc", &arguments, &source, &dir.path().join("program"));
        Self { name: name.to_owned(), dir, libraries, tools }
    }

    fn run(&self, arguments: &[OsString]) {
        let program = self.dir.path().join("program");
        let mut command = match self.tools {
            Tools::Valgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args([
                    "-q",
                    "--error-exitcode=99",
                    "--leak-check=full",
                    "--show-leak-kinds=definite",
                ]);
                valgrind.args(["--errors-for-leak-kinds=definite", "--fair-sched=yes"]);
                // A forked child leaks the parent's objects, because it cannot free them.
                valgrind.args((self.name == "forks").then_some("--leak-check=no"));
                valgrind.arg(program);
                valgrind
            }
            Tools::Plain | Tools::Sanitized => Command::new(program),
        };
        command.args(arguments).env_remove("LD_PRELOAD");
        command.env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0");
        command.current_dir(self.libraries.path());
        succeed(&mut command);
    }
}

/// Runs a program with a mesh. Its arguments are the VM files, the address of upstream DNS, and a temporary directory.
fn run(name: &str, tools: Tools) {
    let program = Program::compiled(name, tools);
    let mesh = TestMesh::start();
    let scratch = tempfile::tempdir().unwrap();
    let path = |path: &Path| path.as_os_str().to_owned();
    program.run(&[path(mesh.vm_files()), mesh.upstream().into(), path(scratch.path())]);
}

/// The programs, each with the behaviour that it tests.
const PROGRAMS: &[(&str, &str)] = &[
    ("arguments", "every_function_returns_a_status_for_each_invalid_argument"),
    ("misuse", "invalid_arguments_and_handles_give_a_status"),
    ("addresses", "getaddrinfo_equals_the_systems_for_ip_addresses_and_knows_mesh_names"),
    ("connections", "connections_are_descriptors_that_behave_like_sockets"),
    ("streams", "streams_are_read_and_written_by_calls"),
    ("forks", "handles_are_invalid_in_a_forked_child_which_can_join_a_mesh"),
    ("exits", "a_program_may_exit_while_connections_are_open"),
    ("load", "the_library_may_be_loaded_and_unloaded"),
    ("events", "a_queue_has_one_completion_for_each_operation"),
    ("callbacks", "a_log_callback_may_call_functions_that_do_not_block"),
    ("listeners", "bridge_and_dns_server_serve_clients_that_accept_only_addresses_or_names"),
    ("diagnostics", "explanations_health_and_metrics_are_texts"),
    ("cleanup", "freed_objects_leave_no_thread_and_no_descriptor"),
    ("limits", "calls_report_that_no_descriptor_is_left_and_work_again_later"),
    ("daemon", "closed_standard_descriptors_do_not_become_connections"),
    ("leaks", "a_program_that_frees_no_errors_gets_a_warning_and_still_every_status"),
    ("many", "thousands_of_connections_work_simultaneously"),
];

/// The program that is generated from the header.
const GENERATED: &str = "arguments";

/// The programs that do not work under valgrind.
const NOT_UNDER_VALGRIND: &[&str] = &[
    // The program counts descriptors and threads, including those of valgrind.
    "cleanup", // A million objects take minutes.
    "leaks",
    // Valgrind does not raise the limit of descriptors, and takes minutes for thousands of handshakes.
    "many",
];

/// Returns a test of each program without tools and with the sanitizers. The tests under valgrind take minutes, and run
/// only with `-- --ignored valgrind`.
pub(crate) fn trials(requirements: &mut Requirements) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, behaviour) in PROGRAMS {
        let plain = format!("programs::{behaviour}");
        trials.push(requirements.trial(plain, &["cc"], || run(name, Tools::Plain)));
        let sanitized = format!("programs::sanitized::{behaviour}");
        trials.push(requirements.trial(sanitized, &["cc"], || run(name, Tools::Sanitized)));
        if !NOT_UNDER_VALGRIND.contains(name) {
            let valgrind = format!("programs::valgrind::{behaviour}");
            let trial = requirements.trial(valgrind, &["cc", "valgrind"], || run(name, Tools::Valgrind));
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

pub(crate) fn sanitized_programs_contain_the_sanitizer() {
    let program = Program::compiled("misuse", Tools::Sanitized);
    let symbols = succeed(Command::new("nm").arg(program.dir.path().join("program")));
    assert!(symbols.contains("__asan_init"), "no sanitizer in {}", shared_library().display());
}
