//! The examples of the C library, built as a user builds them, with the library that cargo has built.

mod build;

use std::{process::Command, time::Duration};

use tokio::time::timeout;

use self::build::{Workshop, example, ffi};
use crate::machine;

/// The timeout of an example.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that uses the C library.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The name of the program in tests.
    pub name: &'static str,
    /// The number of times that it prints the answer of an HTTP service.
    pub answers: usize,
    needs: &'static [Need],
    build: fn(&Workshop) -> Command,
}

/// A requirement of a program.
#[derive(Clone, Copy, Debug)]
enum Need {
    File(&'static str),
    Package(&'static str),
    Program(&'static str),
    PythonModule(&'static str),
}

use Need::{File, Package, Program, PythonModule};

/// Programs that send requests to an HTTP service. Their arguments are VM files, host, port and path.
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

/// Programs that test the guarantees of the C++ header and the Python module that no example covers. Their arguments
/// are VM files, and host and port of an HTTP service.
pub const PROMISES: &[Client] = &[
    client("the_cpp_header", 0, &[Program("c++")], |it| it.cpp(&ffi("tests/cpp/header.cc"))),
    client("the_python_module", 0, &[Program("python3")], |it| {
        it.python(&ffi("tests/python/sidestep_module.py"))
    }),
];

/// Programs that query a PostgreSQL server. Their arguments are VM files, host, port, libpq options and a query.
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
    /// Returns the requirement that this machine lacks, if any.
    pub fn missing(&self) -> Option<String> {
        let compiler = Program("cc");
        self.needs.iter().chain([&compiler]).find(|need| !need.is_met()).map(|need| match need {
            File(path) => format!("{path} does not exist"),
            Package(name) => format!("`{name}` and its headers are not installed"),
            Program(name) => format!("no `{name}`"),
            PythonModule(name) => format!("the Python module `{name}` is not installed"),
        })
    }

    /// Builds and runs the program, and returns its output. `show` also prints the output on standard error.
    #[expect(clippy::print_stderr, reason = "only if requested")]
    pub async fn run(&self, arguments: &[&str], show: bool) -> String {
        let workshop = Workshop::new();
        let mut command = tokio::process::Command::from((self.build)(&workshop));
        // The programs must not use a proxy from the environment.
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env(name, "http://127.0.0.1:1");
        }
        let ended = timeout(PATIENCE, command.args(arguments).kill_on_drop(true).output()).await;
        let output = ended.expect("the program ends in time").expect("the program starts");
        let [text, errors] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if show {
            eprintln!("=== {} {}\n{text}{errors}", self.name, arguments[1..].join(" "));
        }
        assert!(output.status.success(), "{}: {}\n{text}{errors}", self.name, output.status);
        text
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
