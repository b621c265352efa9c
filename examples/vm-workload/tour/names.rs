//! Step 2: names, and the sources of their addresses.

use mesh_resolver::{ErrorKind, Source};

use super::{Outcome, Stage, check, explain, observe};
use crate::show;

/// A name, what it demonstrates, and whether it is in the mesh.
const NAMES: &[(&str, &str, bool)] = &[
    ("forecast.weather", "a service of both clusters, by its short name", true),
    ("archive.weather", "a service of the other cluster only", true),
    ("mymongodb.somedomain", "a ServiceEntry without an address: istiod allocated one", true),
    ("ledger.payments.example", "another ServiceEntry", true),
    ("intranet.example.com", "a name outside the mesh", false),
];

pub(crate) async fn resolve(stage: &Stage) -> Outcome {
    explain(
        "istiod pushes a name table with all names visible to this workload. The process answers names in the table,\n\
         the DNS servers of the VM answer all others.",
    );
    let resolver = stage.mesh.raw_resolver();
    for (name, what, of_the_mesh) in NAMES {
        let lookup = resolver.lookup_ip(name).await?;
        let from_mesh = matches!(lookup.source(), Source::Mesh { .. });
        check(from_mesh == *of_the_mesh, format!("{name} came from {}", show::source(&lookup)))?;
        let who = if from_mesh { "mesh" } else { "upstream DNS" };
        observe(format_args!("{name:<24} {:<24} {who:<13} {what}", show::addresses(&lookup)));
    }
    let unknown = "no-such-service.weather";
    match resolver.lookup_ip(unknown).await {
        Err(error) if error.kind() == ErrorKind::NameNotFound => {
            observe(format_args!("{unknown:<24} {:<24} {:<13} an unknown name", "-", "-"));
        }
        other => return Err(format!("{unknown}: unexpected result {other:?}").into()),
    }
    explain(
        "A VM in another network cannot connect to these addresses. Calls therefore use the clusters and endpoints that\n\
         istiod sends, as in the next step.",
    );
    Ok(((), format!("{} names, from the mesh and from upstream", NAMES.len())))
}
