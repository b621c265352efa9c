//! `mesh-sandbox up` runs a two-network Istio mesh in the foreground, from a folder of YAML.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use mesh_sandbox::{Event, Sandbox, VmFiles};
use tokio::time::{MissedTickBehavior, interval};

/// The interval at which the VM files are rewritten with new tokens. A token expires after an hour.
const RENEWAL: Duration = Duration::from_secs(20 * 60);

/// A complete two-network Istio mesh in one process.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a mesh until Ctrl-C and reloads its YAML when it changes.
    Up {
        /// A folder that contains one folder of Kubernetes and Istio YAML per cluster [default: the example mesh, in a
        /// temporary folder].
        #[arg(long, value_name = "DIR")]
        mesh: Option<PathBuf>,
        /// The folder for the VM files, with one subfolder per WorkloadGroup [default: a temporary folder].
        #[arg(long, value_name = "DIR")]
        vm_files: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Up { mesh, vm_files } = Arguments::parse().command;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match up(mesh, vm_files).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "mesh-sandbox: {}", sidestep_util::error::report(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn up(mesh: Option<PathBuf>, vm_files: Option<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Sandbox::builder();
    if let Some(mesh) = mesh {
        builder = builder.with_mesh_dir(mesh);
    }
    let sandbox = builder.start().await?;
    let folder = Folder::new(vm_files)?;
    folder.write(&sandbox)?;
    describe(&sandbox, folder.path())?;
    let events = sandbox.events();
    let mut mark = events.mark();
    let mut renewal = interval(RENEWAL);
    renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            stop = tokio::signal::ctrl_c() => {
                stop?;
                break;
            }
            _ = renewal.tick() => folder.write(&sandbox)?,
            line = events.wait_since(mark, news) => {
                mark = events.mark();
                // A reload may have added a WorkloadGroup.
                folder.write(&sandbox)?;
                writeln!(io::stdout(), "{line}")?;
            }
        }
    }
    sandbox.shutdown().await;
    Ok(())
}

/// Returns the line to print for an event. Returns `None` for events that are not printed.
fn news(event: &Event) -> Option<String> {
    match event {
        Event::IstiodCrashed { reason } => Some(format!("istiod crashed: {reason}")),
        Event::Reloaded { changed, removed } => {
            let changed = changed.iter().map(|object| format!("  + {object}"));
            let removed = removed.iter().map(|object| format!("  - {object}"));
            let lines: Vec<_> = changed.chain(removed).collect();
            Some(format!("reloaded\n{}", lines.join("\n")))
        }
        Event::ReloadFailed { error } => {
            Some(format!("the YAML was not reloaded; the previous mesh stays in use\n  {error}"))
        }
        _ => None,
    }
}

fn describe(sandbox: &Sandbox, vm_files: &Path) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "YAML              {}", sandbox.mesh_dir().display())?;
    writeln!(out, "istiod            {}  (istiod.istio-system.svc)", sandbox.istiod_address())?;
    for gateway in sandbox.gateways() {
        let yaml = format!("{}:{} in {}", gateway.yaml_address, gateway.yaml_port, gateway.cluster);
        writeln!(out, "gateway {:<9} {}  ({yaml})", gateway.network, gateway.address)?;
    }
    writeln!(out, "upstream DNS      {}", sandbox.upstream_dns())?;
    for group in sandbox.workload_groups() {
        let folder = vm_files.join(group.replace('/', "_"));
        writeln!(out, "VM files          {}  (for WorkloadGroup {group})", folder.display())?;
    }
    writeln!(out, "\nThe YAML is reloaded when it changes. Press Ctrl-C to stop the mesh.")
}

/// The folder that contains the VM files: a folder of the user, or a temporary one.
enum Folder {
    Given(PathBuf),
    Temporary(VmFiles),
}

impl Folder {
    fn new(given: Option<PathBuf>) -> Result<Self, mesh_sandbox::Error> {
        given.map_or_else(|| VmFiles::empty().map(Self::Temporary), |given| Ok(Self::Given(given)))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(files) => files.path(),
        }
    }

    fn write(&self, sandbox: &Sandbox) -> Result<(), mesh_sandbox::Error> {
        for group in sandbox.workload_groups() {
            sandbox.write_vm_files(&group, self.path().join(group.replace('/', "_")))?;
        }
        Ok(())
    }
}
