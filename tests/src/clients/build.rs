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

/// What every C program is compiled with: anything to say is an error.
const STRICT: [&str; 7] = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-g"];

/// A folder to build in, with the library in it.
#[derive(Debug)]
pub(super) struct Workshop {
    dir: TempDir,
}

impl Workshop {
    /// With the shared library that is beside the program which runs: a test of a package that depends on `sidestep-ffi`.
    pub(super) fn new() -> Self {
        let library = env::current_exe().expect("this program").with_file_name("libsidestep.so");
        assert!(library.is_file(), "{} is not there", library.display());
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["libsidestep.so", "libsidestep.so.0.1"] {
            symlink(&library, dir.path().join(name)).expect("a link");
        }
        Self { dir }
    }

    /// An example in C.
    pub(super) fn c(&self, source: &str, flags: &[String]) -> Command {
        self.compiled("cc", &["-std=c11", "-D_GNU_SOURCE"], source, flags)
    }

    /// An example in C++, whose header is in two of its units.
    pub(super) fn cpp(&self, source: &str) -> Command {
        let second = self.path("second.cc");
        fs::write(&second, "#include <sidestep.hpp>\n").expect("a source file");
        self.compiled("c++", &["-std=c++17"], source, &[text(second)])
    }

    fn compiled(&self, compiler: &str, standard: &[&str], source: &str, flags: &[String]) -> Command {
        let program = self.path(format!("{source}.out"));
        let mut command = command(compiler, &STRICT);
        command.args(standard).arg(format!("-I{}", text(ffi("include"))));
        command.arg("-o").arg(&program).arg(ffi("examples").join(source));
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

    /// The same for libcurl 8, which cargo has built.
    pub(super) fn libcurl_8(&self) -> Vec<String> {
        let root = env!("LIBCURL_8");
        vec![format!("-I{root}/include"), format!("{root}/build/libcurl.a"), "-lz".to_owned()]
    }

    /// An example in Python, for whom a warning is an error.
    pub(super) fn python(&self, script: &str) -> Command {
        let mut command = command(&python(), &["-X", "dev", "-W", "error"]);
        command.arg(ffi("examples").join(script)).env("PYTHONPATH", ffi("python"));
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("SIDESTEP_LIBRARY", self.path("libsidestep.so"));
        command
    }

    /// An example in Go.
    pub(super) fn go(&self, folder: &str) -> Command {
        let program = self.path("go-program");
        let mut go = command("go", &["build", "-buildvcs=false", "-o"]);
        go.arg(&program).arg(".").current_dir(ffi("examples").join(folder));
        go.env("CGO_CFLAGS", format!("-I{}", text(ffi("include"))));
        succeed(go.env("CGO_LDFLAGS", self.link().join(" ")));
        Command::new(program)
    }

    /// An example in Java: a class beside those of the library, and the library for JNI.
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
        command("java", &[&format!("-Djava.library.path={folder}"), "-cp", &folder.to_string(), class])
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Where the JDK is whose `javac` is in the path.
fn java_home() -> PathBuf {
    let home = succeed(&mut command("java", &["-XshowSettings:properties", "-version"]));
    let line = home.lines().find_map(|line| line.trim().strip_prefix("java.home = ").map(PathBuf::from));
    line.expect("java says where its home is")
}

/// The Python that has `requests`: of an environment in the target folder, where there is one.
pub(super) fn python() -> String {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python3");
    if own.exists() { text(own) } else { "python3".to_owned() }
}

fn ffi(path: &str) -> PathBuf {
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

/// Runs what has to succeed, and returns what it said.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}\n{said}");
    said
}
