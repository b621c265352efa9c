//! Steps 3 to 5: calls across networks.

use std::collections::BTreeMap;

use http::Uri;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use mesh_connector::{ConnectionInfo, ErrorKind, Mesh, MeshStream, Transport};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::{Outcome, Stage, check, saw, say};
use crate::show;

const CLUSTERS: usize = 2;
/// Each call opens a connection, and each connection chooses its gateway anew.
const MOST_CALLS: usize = 64;

/// An HTTP call, and the connection it went over.
pub(super) async fn get(
    mesh: &Mesh,
    url: &str,
) -> Result<(String, ConnectionInfo), Box<dyn std::error::Error>> {
    let client = mesh.http_client::<Empty<Bytes>>().with_max_idle_per_host(0);
    let response = client.get(Uri::try_from(url)?).await?;
    check(response.status().is_success(), format!("{url} answered {}", response.status()))?;
    let connection = response.extensions().get::<ConnectionInfo>().cloned();
    let connection = connection.ok_or("the response does not say how it came")?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok((String::from_utf8_lossy(&body).into_owned(), connection))
}

/// A field of a workload's answer.
pub(super) fn text(body: &str, field: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    answer[field].as_str().unwrap_or("a workload that does not say who it is").to_owned()
}

/// A line there and a line back.
async fn exchange(stream: &mut MeshStream, line: &str) -> Result<String, Box<dyn std::error::Error>> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).await?;
    check(answer.trim_end().ends_with(line), format!("{answer:?} is no answer to {line:?}"))?;
    Ok(answer.trim_end().to_owned())
}

pub(crate) async fn forecast(stage: &Stage) -> Outcome {
    let url = "http://forecast.weather:3002/";
    say(format!(
        "GET {url}: the mesh has it in both clusters, so calls are spread over both gateways. A gateway\n\
         passes TLS on by its SNI and never opens it: the peer that we verify is the service itself."
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
        check(connection.is_through_gateway(), format!("{} is no gateway", connection.endpoint()))?;
        check(connection.transport() == Transport::MutualTls, "a call went out in plaintext")?;
        saw(format_args!("{} of {cluster} answered", text(body, "pod")));
        say(format!(
            "  gateway {}\n  SNI     {}\n  peer    {}",
            connection.endpoint(),
            connection.sni().unwrap_or_default(),
            connection.peer_name().unwrap_or_default(),
        ));
    }
    saw(format_args!("both saw the call come from {us}"));
    check(seen.len() == CLUSTERS, format!("after {calls} calls only {:?} answered", seen.keys()))?;
    Ok(((), format!("both answered within {calls} calls, mTLS through {CLUSTERS} gateways")))
}

pub(crate) async fn mongodb(stage: &Stage) -> Outcome {
    let (host, port) = ("mymongodb.somedomain", 27018);
    say(format!(
        "{host}:{port} is a ServiceEntry with two endpoints of which istiod knows no sidecar. The control plane\n\
         asks for plaintext straight to them, as a sidecar would do it. It works by name, and by the address that\n\
         was resolved before."
    ));
    let mut stream = stage.mesh.connect(host, port).await?;
    check(stream.connection().transport() == Transport::Plaintext, "plaintext was due")?;
    let answer = exchange(&mut stream, "hello by name").await?;
    saw(format_args!("{answer}   [{}]", show::decision(stream.connection())));

    let vip = stage.mesh.resolver().lookup_ip(host).await?.addresses().first().copied();
    let vip = vip.ok_or("no address")?;
    let mut stream = stage.mesh.connect(&vip.to_string(), port).await?;
    check(stream.connection().service() == Some(host), format!("{vip} was not taken for {host}"))?;
    let answer = exchange(&mut stream, "hello by address").await?;
    saw(format_args!("{answer}   [{vip} is {host}; {}]", show::decision(stream.connection())));

    match stage.mesh.requiring_mtls().connect(host, port).await {
        Err(error) if error.kind() == ErrorKind::PlaintextRefused => {
            saw(format_args!("refused where mTLS is required: {error}"));
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("plaintext went out although mTLS was required".into()),
    }
    Ok(((), "plaintext, as the control plane says; refused where mTLS is required".to_owned()))
}

pub(crate) async fn ledger(stage: &Stage) -> Outcome {
    let (host, port) = ("ledger.payments.example", 5432);
    say(format!(
        "{host}:{port} is a ServiceEntry too, but its endpoints have a network and a service account, and the\n\
         gateway exposes the host: so it is mTLS through the gateway, required or not."
    ));
    let mut stream = stage.mesh.requiring_mtls().connect(host, port).await?;
    let answer = exchange(&mut stream, "hello").await?;
    let connection = stream.connection();
    check(connection.is_through_gateway(), format!("{} is no gateway", connection.endpoint()))?;
    saw(format_args!("{answer}   [{}]", show::decision(connection)));
    Ok(((), format!("mTLS through the gateway, peer {}", connection.peer_name().unwrap_or_default())))
}
