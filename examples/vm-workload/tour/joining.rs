//! Step 1: from the files of a VM to an identity and a name table.

use std::{fs, io, path::Path, time::Instant};

use mesh_connector::{Config, Mesh};
use mesh_resolver::Upstream;
use mesh_sandbox::Sandbox;

use super::{Outcome, Stage, explain, observe};
use crate::show::{duration, validity};

/// Starts the sandbox and joins it.
pub(crate) async fn join() -> Outcome<Stage> {
    let yaml = tempfile::tempdir()?;
    copy(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/mesh")), yaml.path())?;
    let sandbox = Sandbox::builder().with_mesh_dir(yaml.path()).start().await?;
    explain(
        "Ordinary Kubernetes and Istio YAML describes the mesh (examples/mesh). An operator ran\n\
         `istioctl x workload entry configure` to write five files for the VM, with a token that is valid for one hour.",
    );
    let vm = sandbox.vm_files("vms/edge-app")?;
    let mut files = fs::read_dir(vm.path())?
        .map(|file| file.map(|file| file.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    observe(format_args!("the VM's files: {}", files.join(", ")));

    let started = Instant::now();
    let mesh = Mesh::builder(Config::from_vm_files(vm.path())?)
        .with_upstream(Upstream::servers([sandbox.upstream_dns()]))
        .join()
        .await?;
    let took = duration(started.elapsed());
    let identity = mesh.client().identity().current().ok_or("joined without an identity")?;
    observe(format_args!("joined as {}, certificate {}", identity.spiffe_id(), validity(&identity)));
    observe(format_args!(
        "istiod at {} sent {} names",
        sandbox.istiod_address(),
        mesh.client().names().load().len()
    ));
    let summary = format!("as {}, in {took}", identity.spiffe_id());
    Ok((Stage { sandbox, mesh, yaml }, summary))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
