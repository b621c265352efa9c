//! A small request over a warm connection through the gateway, beside a sidecar that makes it.

use std::time::Instant;

use http::{Request, Uri, header::HOST as HOST_HEADER};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mesh_tests::peers::Child;
use tokio::runtime::Runtime;

use crate::{
    Failure,
    peers::{self, HOST, PORT},
    process::{thread_time, tree_time},
    report::{Budget, Report},
    rounds::interleaved,
    samples::Samples,
    unit::Unit,
};

pub(super) const ABOUT: &str = "a GET of 1 KiB over a warm connection through the gateway";

const ROUNDS: usize = 15;
const REQUESTS: usize = 500;

/// What is kept of each round beside its median.
#[derive(Default)]
struct Aside {
    p99: Vec<f64>,
    cpu: Vec<f64>,
}

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(stage) = peers::stage(&runtime, report, "") else { return Ok(()) };
    let mesh = runtime.block_on(stage.join())?;
    let sidecar = runtime.block_on(stage.real.client_sidecar());
    let client = mesh.http_client::<Empty<Bytes>>();
    let url: Uri = format!("http://{HOST}:{PORT}/bytes/1024").parse()?;
    let plain: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let by_sidecar: Uri = format!("http://{}/bytes/1024", stage.real.client_sidecar_address()).parse()?;
    let (mut our_aside, mut their_aside) = (Aside::default(), Aside::default());
    let mut failure = None;
    let failed = std::cell::RefCell::new(&mut failure);
    let [ours, theirs] = interleaved(
        ROUNDS,
        [
            Box::new(|| {
                let get = async || Ok(client.get(url.clone()).await?);
                median(round(&runtime, get, None, &mut our_aside), &failed)
            }),
            Box::new(|| {
                let get = async || {
                    let request = Request::get(by_sidecar.clone()).header(HOST_HEADER, format!("{HOST}:{PORT}"));
                    Ok(plain.request(request.body(Empty::new())?).await?)
                };
                median(round(&runtime, get, Some(&sidecar), &mut their_aside), &failed)
            }),
        ],
    );
    if let Some(failure) = failure {
        return Err(failure);
    }
    let counted = |figures: Vec<f64>| -> Samples { figures.into_iter().skip(1).collect() };
    let peer = "sidecar";
    report.row("p50", Unit::Nanoseconds, ours).beside(peer, &theirs).within(Budget::Ratio(0.45));
    report
        .row("p99", Unit::Nanoseconds, counted(our_aside.p99))
        .beside(peer, &counted(their_aside.p99))
        .within(Budget::Ratio(0.45));
    report
        .row("CPU of client and sidecar", Unit::Nanoseconds, counted(our_aside.cpu))
        .beside(peer, &counted(their_aside.cpu))
        .within(Budget::Ratio(0.3));
    Ok(())
}

fn median(round: Result<Samples, Failure>, failed: &std::cell::RefCell<&mut Option<Failure>>) -> f64 {
    round.map_or_else(
        |error| {
            **failed.borrow_mut() = Some(error);
            f64::NAN
        },
        |times| times.median(),
    )
}

fn round(
    runtime: &Runtime,
    get: impl AsyncFn() -> Result<http::Response<Incoming>, Failure>,
    sidecar: Option<&Child>,
    aside: &mut Aside,
) -> Result<Samples, Failure> {
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
    aside.cpu.push((all_time()? - before) / REQUESTS as f64);
    aside.p99.push(times.quantile(0.99));
    Ok(times)
}
