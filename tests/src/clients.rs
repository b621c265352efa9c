//! The examples of the C library, built as their users build them, against the library that cargo has just built.

mod build;

use std::{process::Command, time::Duration};

use tokio::time::timeout;

use self::build::{Workshop, example, ffi};
use crate::machine;

/// No example takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that uses the library.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// What it is called in tests.
    pub name: &'static str,
    /// How often it says what an HTTP service answers.
    pub answers: usize,
    needs: &'static [Need],
    build: fn(&Workshop) -> Command,
}

/// What has to be on a machine.
#[derive(Clone, Copy, Debug)]
enum Need {
    File(&'static str),
    Package(&'static str),
    Program(&'static str),
    PythonModule(&'static str),
}

use Need::{File, Package, Program, PythonModule};

/// Those that ask an HTTP service. Their arguments are VM files, host, port and path.
pub const HTTP: &[Client] = &[
    client("blocking_sockets_in_c", 1, &[], |it| it.c("blocking.c", &[])),
    client("an_event_loop_in_c", 0, &[], |it| it.c("events.c", &[])),
    client("cpp", 1, &[Program("c++")], |it| it.cpp(&example("request.cc"))),
    client("libcurl", 4, &[Package("libcurl")], |it| it.c("curl.c", &it.package("libcurl"))),
    client("libcurl_multi", 8, &[Package("libcurl")], |it| it.c("curl_multi.c", &it.package("libcurl"))),
    client("libcurl_8", 5, &[Package("zlib")], |it| it.c("curl.c", &it.libcurl_8())),
    client("libcurl_8_multi", 8, &[Package("zlib")], |it| it.c("curl_multi.c", &it.libcurl_8())),
    client("libcurl_8_multi_over_descriptors", 8, &[Package("zlib")], |it| {
        it.c("curl_queue.c", &it.libcurl_8())
    }),
    client("python", 3, &[Program("python3")], |it| it.python(&example("request.py"))),
    client("python_requests", 3, &[PythonModule("requests"), PythonModule("socks")], |it| {
        it.python(&example("requests_session.py"))
    }),
    client("go", 1, &[Program("go")], |it| it.go("go")),
    client("java", 3, &[Program("javac")], |it| it.java("Requests")),
];

/// What the C++ header and the Python module promise beside what the examples show. Their arguments are VM files, and host
/// and port of an HTTP service.
pub const PROMISES: &[Client] = &[
    client("the_cpp_header", 0, &[Program("c++")], |it| it.cpp(&ffi("tests/cpp/header.cc"))),
    client("the_python_module", 0, &[Program("python3")], |it| {
        it.python(&ffi("tests/python/sidestep_module.py"))
    }),
];

/// Those that ask a PostgreSQL server. Their arguments are VM files, host, port, libpq's options and a query.
pub const POSTGRES: &[Client] = &[
    client("libpq", 2, &[Package("libpq")], |it| it.c("postgres.c", &it.package("libpq"))),
    client("jdbc", 1, &[Program("javac"), File(build::JDBC)], |it| it.java("Jdbc")),
];

const fn client(
    name: &'static str,
    answers: usize,
    needs: &'static [Need],
    build: fn(&Workshop) -> Command,
) -> Client {
    Client { name, answers, needs, build }
}

impl Client {
    /// What it needs and is not on this machine.
    pub fn missing(&self) -> Option<String> {
        let compiler = Program("cc");
        self.needs.iter().chain([&compiler]).find(|need| !need.is_met()).map(|need| match need {
            File(path) => format!("no {path}"),
            Package(name) => format!("`{name}` is not installed for programs to be compiled with"),
            Program(name) => format!("no `{name}`"),
            PythonModule(name) => format!("no Python module `{name}`"),
        })
    }

    /// Builds it, runs it, and returns what it said. `show`: says that on standard error too.
    #[expect(clippy::print_stderr, reason = "where it is asked for")]
    pub async fn run(&self, arguments: &[&str], show: bool) -> String {
        let workshop = Workshop::new();
        let mut command = tokio::process::Command::from((self.build)(&workshop));
        // None of them is to go by a proxy that it finds there.
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env(name, "http://127.0.0.1:1");
        }
        let ended = timeout(PATIENCE, command.args(arguments).kill_on_drop(true).output()).await;
        let output = ended.expect("it ends in time").expect("it runs");
        let [said, errors] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if show {
            eprintln!("=== {} {}\n{said}{errors}", self.name, arguments[1..].join(" "));
        }
        assert!(output.status.success(), "{}: {}\n{said}{errors}", self.name, output.status);
        said
    }
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            File(path) => std::path::Path::new(path).exists(),
            Package(name) => machine::has_package(name),
            Program(name) => machine::has_program(name),
            PythonModule(name) => {
                let found = build::command(&build::python(), &["-c", &format!("import {name}")]).output();
                found.is_ok_and(|output| output.status.success())
            }
        }
    }
}
