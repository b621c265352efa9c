//! Compilers and interpreters for programs that use the library.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// The flags of every C program: any warning is an error.
const STRICT: [&str; 7] = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-g"];

/// The PostgreSQL JDBC driver of Debian's libpostgresql-jdbc-java.
pub(super) const JDBC: &str = "/usr/share/java/postgresql.jar";

/// A build folder that contains the library.
#[derive(Debug)]
pub(super) struct Workshop {
    dir: TempDir,
}

impl Workshop {
    /// Creates a build folder with the shared library that is in the same folder as the running test, which must belong
    /// to a package that depends on `sidestep-ffi`.
    pub(super) fn new() -> Self {
        let library = env::current_exe().expect("this program").with_file_name("libsidestep.so");
        assert!(library.is_file(), "{} does not exist", library.display());
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["libsidestep.so", "libsidestep.so.0.1"] {
            symlink(&library, dir.path().join(name)).expect("a link");
        }
        Self { dir }
    }

    /// Compiles an example in C.
    pub(super) fn c(&self, source: &str, flags: &[String]) -> Command {
        self.compiled("cc", &["-std=c11", "-D_GNU_SOURCE"], &example(source), flags)
    }

    /// Compiles a program in C++, with the header in two of its translation units.
    pub(super) fn cpp(&self, source: &Path) -> Command {
        let second = self.path("second.cc");
        fs::write(&second, "#include <sidestep.hpp>\n").expect("a source file");
        self.compiled("c++", &["-std=c++17"], source, &[text(second)])
    }

    fn compiled(&self, compiler: &str, standard: &[&str], source: &Path, flags: &[String]) -> Command {
        let program = self.path("program");
        let mut command = command(compiler, &STRICT);
        command.args(standard).arg(format!("-I{}", text(ffi("include"))));
        command.arg("-o").arg(&program).arg(source);
        succeed(command.args(flags).args(self.link()));
        Command::new(program)
    }

    fn link(&self) -> [String; 3] {
        let folder = self.dir.path().display();
        [format!("-L{folder}"), format!("-Wl,-rpath,{folder}"), "-lsidestep".to_owned()]
    }

    /// What a package wants of a compiler.
    pub(super) fn package(&self, name: &str) -> Vec<String> {
        let flags = succeed(&mut command("pkg-config", &["--cflags", "--libs", name]));
        flags.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns the compiler flags for libcurl 8, which cargo has built.
    pub(super) fn libcurl_8(&self) -> Vec<String> {
        let root = env!("LIBCURL_8");
        vec![format!("-I{root}/include"), format!("{root}/build/libcurl.a"), "-lz".to_owned()]
    }

    /// Returns a command that runs a Python program, with warnings as errors.
    pub(super) fn python(&self, script: &Path) -> Command {
        let mut command = command(&python(), &["-X", "dev", "-W", "error"]);
        command.arg(script).env("PYTHONPATH", ffi("python"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("SIDESTEP_LIBRARY", self.path("libsidestep.so"));
        command
    }

    /// Compiles an example in Go.
    pub(super) fn go(&self, folder: &str) -> Command {
        let program = self.path("go-program");
        let mut go = command("go", &["build", "-buildvcs=false", "-o"]);
        go.arg(&program).arg(".").current_dir(example(folder));
        go.env("CGO_CFLAGS", format!("-I{}", text(ffi("include"))));
        succeed(go.env("CGO_LDFLAGS", self.link().join(" ")));
        Command::new(program)
    }

    /// Compiles an example in Java: its class with those of the library, and the JNI library.
    pub(super) fn java(&self, class: &str) -> Command {
        let sources = ffi("examples/java");
        let mut javac = command("javac", &["-Xlint:all", "-Werror", "--release", "11", "-d"]);
        javac.arg(self.dir.path());
        succeed(javac.arg(sources.join("Sidestep.java")).arg(sources.join(class).with_extension("java")));
        let mut cc = command("cc", &STRICT);
        cc.args(["-std=c11", "-shared", "-fPIC"]).arg(format!("-I{}", text(ffi("include"))));
        for folder in ["include", "include/linux"] {
            cc.arg("-I").arg(java_home().join(folder));
        }
        cc.arg("-o").arg(self.path("libsidestep_jni.so")).arg(sources.join("sidestep_jni.c"));
        succeed(cc.args(self.link()));
        let folder = self.dir.path().display();
        let classes = format!("{folder}:{JDBC}");
        command("java", &[&format!("-Djava.library.path={folder}"), "-cp", &classes, class])
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Returns the home of the JDK whose `javac` is in the path.
fn java_home() -> PathBuf {
    let home = succeed(&mut command("java", &["-XshowSettings:properties", "-version"]));
    let line = home.lines().find_map(|line| line.trim().strip_prefix("java.home = ").map(PathBuf::from));
    line.expect("java prints its home")
}

/// Returns the Python that has `requests`: the one of the environment in the target folder, if it exists.
pub(super) fn python() -> String {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python3");
    if own.exists() { text(own) } else { "python3".to_owned() }
}

/// Returns the path of an example of the C library.
pub(super) fn example(name: &str) -> PathBuf {
    ffi("examples").join(name)
}

/// Returns a path in the folder of the C library.
pub(super) fn ffi(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi").join(path)
}

fn text(path: impl AsRef<OsStr>) -> String {
    path.as_ref().to_str().expect("a path in UTF-8").to_owned()
}

pub(super) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs a command that must succeed, and returns its output.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}\n{text}");
    text
}
