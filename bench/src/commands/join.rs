//! The time from a token to the first answer of a service, compared with Istio's agent and Envoy.

use std::time::{Duration, Instant};

use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use mesh_tests::peers::Child;

use crate::{
    Failure,
    peers::{self, HOST, PORT, Stage},
    report::{Budget, Report},
    rounds::interleaved,
    unit::Unit,
};

pub(super) const ABOUT: &str = "from a token to the first answer, on a mesh of four services";

const ROUNDS: usize = 7;
/// The interval of checks whether the sidecar accepts connections.
const LOOK: Duration = Duration::from_millis(2);

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(stage) = peers::stage(&runtime, report, "") else { return Ok(()) };
    let mut failure = None;
    let failed = std::cell::RefCell::new(&mut failure);
    let record = |outcome: Result<f64, Failure>| {
        outcome.unwrap_or_else(|error| {
            **failed.borrow_mut() = Some(error);
            f64::NAN
        })
    };
    let [ours, theirs] = interleaved(
        ROUNDS,
        [
            Box::new(|| record(runtime.block_on(ours(&stage)))),
            Box::new(|| record(runtime.block_on(sidecar(&stage)))),
        ],
    );
    if let Some(failure) = failure {
        return Err(failure);
    }
    report
        .row("join to first answer", Unit::Nanoseconds, ours)
        .beside("agent and Envoy", &theirs)
        .within(Budget::Ratio(0.1));
    Ok(())
}

async fn ours(stage: &Stage) -> Result<f64, Failure> {
    let config = stage.config()?;
    let start = Instant::now();
    let mesh = mesh_connector::Mesh::join(config).await?;
    let url: Uri = format!("http://{HOST}:{PORT}/bytes/1024").parse()?;
    let response = mesh.http_client::<Empty<Bytes>>().get(url).await?;
    let answered =
        response.status().is_success() && response.into_body().collect().await?.to_bytes().len() == 1024;
    let time = start.elapsed().as_secs_f64() * 1e9;
    mesh.shutdown().await;
    answered.then_some(time).ok_or_else(|| "no answer".into())
}

async fn sidecar(stage: &Stage) -> Result<f64, Failure> {
    let url: Uri = format!("http://{}/bytes/1024", stage.real.client_sidecar_address()).parse()?;
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let start = Instant::now();
    let served = async {
        loop {
            let request = Request::get(url.clone()).header(http::header::HOST, format!("{HOST}:{PORT}"));
            if let Ok(response) = client.request(request.body(Empty::new())?).await
                && response.status().is_success()
                && response.into_body().collect().await?.to_bytes().len() == 1024
            {
                return Ok::<_, Failure>(start.elapsed().as_secs_f64() * 1e9);
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let (child, time): (Child, _) = tokio::join!(stage.real.client_sidecar(), served);
    child.end().await;
    time
}
