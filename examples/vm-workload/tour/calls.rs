//! Steps 3 to 5: calls across networks.

use std::collections::BTreeMap;

use http::Uri;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{ConnectionInfo, ErrorKind, Mesh, MeshStream, Transport};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::{Outcome, Stage, check, explain, observe};
use crate::show;

const CLUSTERS: usize = 2;
/// The maximum number of calls. Each call opens a connection, and each connection selects a gateway.
const MOST_CALLS: usize = 64;

/// Makes an HTTP request, and returns the body and the connection.
pub(super) async fn get(
    mesh: &Mesh,
    url: &str,
) -> Result<(String, ConnectionInfo), Box<dyn std::error::Error>> {
    let client = mesh.http_client::<Empty<Bytes>>().with_max_idle_per_host(0);
    let response = client.get(Uri::try_from(url)?).await?;
    check(response.status().is_success(), format!("{url} returned {}", response.status()))?;
    let connection = response.extensions().get::<ConnectionInfo>().cloned();
    let connection = connection.ok_or("the response has no connection information")?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok((String::from_utf8_lossy(&body).into_owned(), connection))
}

/// Returns a field of the answer of a workload.
pub(super) fn text(body: &str, field: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    answer[field].as_str().unwrap_or("an unknown workload").to_owned()
}

/// Sends a line and reads the answer.
async fn exchange(stream: &mut MeshStream, line: &str) -> Result<String, Box<dyn std::error::Error>> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    check(answer.trim_end().ends_with(line), format!("unexpected answer {answer:?} to {line:?}"))?;
    Ok(answer.trim_end().to_owned())
}

pub(crate) async fn forecast(stage: &Stage) -> Outcome {
    let url = "http://forecast.weather:3002/";
    explain(format!(
        "GET {url}: the service runs in both clusters, so calls are balanced over both gateways. A gateway\n\
         forwards TLS by its SNI without decrypting it, so the verified peer is the service itself."
    ));
    let mut seen = BTreeMap::new();
    let mut calls = 0;
    while seen.len() < CLUSTERS && calls < MOST_CALLS {
        let (body, connection) = get(&stage.mesh, url).await?;
        calls += 1;
        let cluster = connection.workload_cluster().unwrap_or("an unknown cluster").to_owned();
        seen.entry(cluster).or_insert((body, connection));
    }
    let us = seen.values().map(|(body, _)| text(body, "client")).next().unwrap_or_default();
    for (cluster, (body, connection)) in &seen {
        check(connection.is_through_gateway(), format!("{} is not a gateway", connection.endpoint()))?;
        check(connection.transport() == Transport::MutualTls, "a call was made in plaintext")?;
        observe(format_args!("{} of {cluster} answered", text(body, "pod")));
        explain(format!(
            "  gateway {}\n  SNI     {}\n  peer    {}",
            connection.endpoint(),
            connection.sni().unwrap_or_default(),
            connection.peer_name().unwrap_or_default(),
        ));
    }
    observe(format_args!("both identified the caller as {us}"));
    check(seen.len() == CLUSTERS, format!("after {calls} calls only {:?} answered", seen.keys()))?;
    Ok(((), format!("both answered within {calls} calls, mTLS through {CLUSTERS} gateways")))
}

pub(crate) async fn mongodb(stage: &Stage) -> Outcome {
    let (host, port) = ("mymongodb.somedomain", 27018);
    explain(format!(
        "{host}:{port} is a ServiceEntry with two endpoints without sidecars. The control plane configures\n\
         direct plaintext connections to them, as for a sidecar. The service can be called by name, or by the address\n\
         that was resolved before."
    ));
    let mut stream = stage.mesh.connect(host, port).await?;
    check(stream.connection().transport() == Transport::Plaintext, "the connection is not plaintext")?;
    let answer = exchange(&mut stream, "hello by name").await?;
    observe(format_args!("{answer}   [{}]", show::decision(stream.connection())));

    let vip = stage.mesh.raw_resolver().lookup_ip(host).await?.addresses().first().copied();
    let vip = vip.ok_or("no address")?;
    let mut stream = stage.mesh.connect(&vip.to_string(), port).await?;
    check(stream.connection().service() == Some(host), format!("{vip} was not recognised as {host}"))?;
    let answer = exchange(&mut stream, "hello by address").await?;
    observe(format_args!("{answer}   [{vip} is {host}; {}]", show::decision(stream.connection())));

    match stage.mesh.requiring_mtls().connect(host, port).await {
        Err(error) if error.kind() == ErrorKind::PlaintextRefused => {
            observe(format_args!("rejected if mTLS is required: {error}"));
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("a plaintext connection was made although mTLS is required".into()),
    }
    Ok(((), "plaintext as configured; rejected if mTLS is required".to_owned()))
}

pub(crate) async fn ledger(stage: &Stage) -> Outcome {
    let (host, port) = ("ledger.payments.example", 5432);
    explain(format!(
        "{host}:{port} is also a ServiceEntry, but its endpoints have a network and a service account, and the\n\
         gateway exposes the host, so the connection uses mTLS through the gateway."
    ));
    let mut stream = stage.mesh.requiring_mtls().connect(host, port).await?;
    let answer = exchange(&mut stream, "hello").await?;
    let connection = stream.connection();
    check(connection.is_through_gateway(), format!("{} is not a gateway", connection.endpoint()))?;
    observe(format_args!("{answer}   [{}]", show::decision(connection)));
    Ok(((), format!("mTLS through the gateway, peer {}", connection.peer_name().unwrap_or_default())))
}
