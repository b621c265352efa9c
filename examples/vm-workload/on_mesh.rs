//! The commands on a real mesh. Results go to standard output, details to standard error.

use std::{error::Error, io::Write as _, path::Path};

use http::Uri;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{Config, ConnectionInfo, Mesh, Target, explain::Probe};

use crate::show;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

async fn join(dir: &Path, istiod_name: Option<String>) -> Outcome<Mesh> {
    let mut config = Config::builder().with_vm_files(dir);
    if let Some(name) = istiod_name {
        config = config.with_istiod_name(name);
    }
    let mesh = Mesh::join(config.build()?).await?;
    if let Some(identity) = mesh.client().identity().current() {
        anstream::eprintln!("joined as {}, {}", identity.spiffe_id(), show::validity(&identity));
    }
    Ok(mesh)
}

/// Prints one line per name: name, addresses, source.
pub(crate) async fn resolve(dir: &Path, istiod_name: Option<String>, names: &[String]) -> Outcome {
    let mesh = join(dir, istiod_name).await?;
    let mut failed = 0;
    for name in names {
        match mesh.raw_resolver().lookup_ip(name).await {
            Ok(lookup) => {
                anstream::println!("{name}\t{}\t{}", show::addresses(&lookup), show::source(&lookup))
            }
            Err(error) => {
                failed += 1;
                show::error(&error);
            }
        }
    }
    match failed {
        0 => Ok(()),
        some => Err(format!("{some} of {} names have no address", names.len()).into()),
    }
}

/// Prints the body as it arrives.
pub(crate) async fn get(dir: &Path, istiod_name: Option<String>, url: Uri) -> Outcome {
    let mesh = join(dir, istiod_name).await?;
    let response = mesh.http_client::<Empty<Bytes>>().get(url).await?;
    if let Some(connection) = response.extensions().get::<ConnectionInfo>() {
        anstream::eprintln!("{}", show::decision(connection));
    }
    anstream::eprintln!("{:?} {}", response.version(), response.status());
    let mut body = response.into_body();
    let mut out = std::io::stdout().lock();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            out.write_all(&data)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Prints the whole explanation to standard output. Returns an error if the connection fails.
pub(crate) async fn explain(
    dir: &Path,
    istiod_name: Option<String>,
    target: &Target,
    probe: Probe,
    json: bool,
) -> Outcome {
    let mesh = join(dir, istiod_name).await?;
    let explanation = mesh.explain_to(target, probe).await;
    match json {
        true => anstream::println!("{}", explanation.to_json()),
        false => anstream::print!("{explanation}"),
    }
    match explanation.failure {
        None => Ok(()),
        Some(failure) => Err(failure.summary.into()),
    }
}
