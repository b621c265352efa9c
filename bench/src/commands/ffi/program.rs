//! The C program in `bench/client`, built with the library as it is installed.

use std::{
    cell::RefCell,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use mesh_tests::vm_files::Vm;
use tempfile::TempDir;

use crate::{
    Failure,
    peers::{HOST, PORT, Stage},
};

/// A running program that executes commands and returns measurements.
pub(super) struct Program {
    process: Child,
    input: ChildStdin,
    output: RefCell<BufReader<ChildStdout>>,
    _dir: TempDir,
}

impl Program {
    /// Builds the library and the program, and starts the program, which joins the mesh.
    pub(super) fn start(stage: &Stage) -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let program = dir.path().join("client");
        compile(&library()?, &program)?;
        let mut process = Command::new(program)
            .arg(stage.real.vm_files(&Vm::default()))
            .args([HOST, &PORT.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("no input")?;
        let output = RefCell::new(BufReader::new(process.stdout.take().ok_or("no output")?));
        let program = Self { process, input, output, _dir: dir };
        program.answer::<0>()?;
        Ok(program)
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Runs a command and returns its figures.
    pub(super) fn ask<const K: usize>(&self, command: &str) -> Result<[f64; K], Failure> {
        writeln!(&self.input, "{command}")?;
        self.answer().map_err(|error| format!("{command}: {error}").into())
    }

    fn answer<const K: usize>(&self) -> Result<[f64; K], Failure> {
        let mut line = String::new();
        self.output.borrow_mut().read_line(&mut line)?;
        let figures = line.strip_prefix("ok").ok_or_else(|| line.trim().to_owned())?;
        let figures: Result<Vec<f64>, _> = figures.split_whitespace().map(str::parse).collect();
        figures?.get(..K).and_then(|figures| figures.try_into().ok()).ok_or_else(|| line.into())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the folder of the shared library, which is built with the settings of `ffi/install.sh` in the target folder
/// of this program.
fn library() -> Result<PathBuf, Failure> {
    let this = env::current_exe()?;
    let target = this.parent().and_then(Path::parent).ok_or("this program is not in a target folder")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet", "--package", "sidestep-ffi", "--target-dir"]).arg(target);
    succeed(cargo.current_dir(here()))?;
    Ok(target.join("release"))
}

fn compile(library: &Path, to: &Path) -> Result<(), Failure> {
    let sources = ["main", "connection", "lookup", "establish", "request", "transfer", "hold"];
    let sources = sources.map(|name| here().join("client").join(name).with_extension("c"));
    // The soname of the library contains the ABI number, and cargo creates no file with this name.
    let shared = library.join("libsidestep.so");
    let soname = to.with_file_name("libsidestep.so.0.1");
    std::os::unix::fs::symlink(&shared, &soname)?;
    let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-Wl,-rpath,$ORIGIN", "-I"]);
    cc.arg(here().join("../ffi/include")).arg("-o").arg(to).args(sources).arg(shared);
    succeed(&mut cc)
}

fn succeed(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
