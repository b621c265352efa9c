//! A small request over a warm connection through the gateway, compared with a sidecar and with a minimal client, whose
//! times are those of gateway and workload.

use std::time::Instant;

use http::{Request, Response, Uri, header::HOST as HOST_HEADER};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::{Body, Bytes},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use mesh_tests::peers::Child;
use tokio::{runtime::Runtime, sync::Mutex};

use crate::{
    Failure,
    bare::Bare,
    peers::{self, Clients, HOST, PORT},
    process::{thread_time, tree_time},
    report::{Budget, Report},
    rounds::tried,
    samples::Samples,
    unit::Unit,
};

pub(super) const ABOUT: &str = "a GET of 1 KiB over a warm connection through the gateway";

const ROUNDS: usize = 11;
/// Forty requests of a round are slower than its p99; with fewer, random delays of the machine would decide it.
const REQUESTS: usize = 4000;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(Clients { mesh, bare, stage, .. }) = peers::clients(&runtime, report)? else { return Ok(()) };
    let sidecar = runtime.block_on(stage.real.client_sidecar());
    let client = mesh.http_client::<Empty<Bytes>>();
    let url: Uri = format!("http://{HOST}:{PORT}/bytes/1024").parse()?;
    let plain: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let by_sidecar: Uri = format!("http://{}/bytes/1024", stage.real.client_sidecar_address()).parse()?;
    let floor = Mutex::new(runtime.block_on(http1(&bare))?);
    let request = |uri: Uri| {
        Request::get(uri).header(HOST_HEADER, format!("{HOST}:{PORT}")).body(Empty::<Bytes>::new())
    };
    let ours = async || Ok(client.get(url.clone()).await?);
    let sidecars = async || Ok(plain.request(request(by_sidecar.clone())?).await?);
    let least = async || Ok(floor.lock().await.send_request(request("/bytes/1024".parse()?)?).await?);
    let [[p50, p99, cpu], [their_p50, their_p99, their_cpu], [least_p50, least_p99, least_cpu]] = tried(
        ROUNDS,
        [
            Box::new(|| round(&runtime, ours, None)),
            Box::new(|| round(&runtime, sidecars, Some(&sidecar))),
            Box::new(|| round(&runtime, least, None)),
        ],
    )?;
    // The budgets compared with the sidecar, and with the minimal client.
    let rows = [
        ("p50", p50, their_p50, least_p50, Some(0.45), None),
        ("p99", p99, their_p99, least_p99, None, Some(1.05)),
        ("CPU of client and sidecar", cpu, their_cpu, least_cpu, Some(0.3), Some(1.1)),
    ];
    for (what, ours, sidecars, least, of_sidecar, of_bare) in rows {
        for (peer, figures, most) in
            [("sidecar", &sidecars, of_sidecar), ("bare tokio-rustls", &least, of_bare)]
        {
            let row = report.row(what, Unit::Nanoseconds, ours.clone()).beside(peer, figures);
            if let Some(most) = most {
                row.within(Budget::Ratio(most));
            }
        }
    }
    Ok(())
}

/// Opens an HTTP/1.1 connection of the minimal client.
async fn http1(bare: &Bare) -> Result<SendRequest<Empty<Bytes>>, Failure> {
    let (requests, connection) = http1::handshake(TokioIo::new(bare.connect().await?)).await?;
    tokio::spawn(connection);
    Ok(requests)
}

/// Returns the median, the 99th percentile, and the CPU time per request.
fn round<B>(
    runtime: &Runtime,
    get: impl AsyncFn() -> Result<Response<B>, Failure>,
    sidecar: Option<&Child>,
) -> Result<[f64; 3], Failure>
where
    B: Body,
    Failure: From<B::Error>,
{
    let all_time = || Ok::<_, Failure>(thread_time() + sidecar.map_or(Ok(0.0), tree_time)?);
    let before = all_time()?;
    let times: Result<Samples, Failure> = runtime.block_on(async {
        let mut times = Vec::new();
        for _ in 0..REQUESTS {
            let start = Instant::now();
            let response = get().await?;
            let (status, body) = (response.status(), response.into_body().collect().await?.to_bytes());
            times.push(start.elapsed().as_secs_f64() * 1e9);
            if !status.is_success() || body.len() != 1024 {
                return Err(format!("{status}, {} bytes", body.len()).into());
            }
        }
        Ok(times.into_iter().collect())
    });
    let times = times?;
    let cpu = (all_time()? - before) / REQUESTS as f64;
    Ok([times.median(), times.quantile(0.99), cpu])
}
