//! A long stream through the gateway, beside the same without a mesh around it.

use mesh_connector::Protocol;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    runtime::Runtime,
};

use crate::{
    Failure,
    bare::Bare,
    peers::{self, HOST, PORT},
    process::thread_time,
    report::{Budget, Report},
    rounds::interleaved,
    unit::Unit,
};

pub(super) const ABOUT: &str = "1 GiB through the gateway, CPU per byte";

const ROUNDS: usize = 7;
/// What is read at a time.
const BUFFER: usize = 64 * 1024;
/// What a stream is long.
pub(super) const BYTES: usize = 1 << 30;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(stage) = peers::stage(&runtime, report, "") else { return Ok(()) };
    let mesh = runtime.block_on(stage.join())?;
    let bare = runtime.block_on(Bare::like(&mesh, Protocol::Http1))?;
    let target = mesh_connector::Target::new(HOST, PORT)?.with_protocol(Protocol::Http1);
    let [ours, theirs] = interleaved(
        ROUNDS,
        [
            Box::new(|| round(&runtime, async || Ok::<_, Failure>(mesh.connect_to(&target).await?))),
            Box::new(|| round(&runtime, async || bare.connect().await)),
        ],
    );
    if ours.median().is_nan() || theirs.median().is_nan() {
        return Err("a stream broke".into());
    }
    report
        .row("CPU of the client per byte read", Unit::Nanoseconds, ours)
        .beside("bare tokio-rustls", &theirs)
        .within(Budget::Ratio(1.05));
    Ok(())
}

/// Nanoseconds on the CPU per byte.
fn round<S: AsyncRead + AsyncWrite + Unpin>(
    runtime: &Runtime,
    connect: impl AsyncFn() -> Result<S, Failure>,
) -> f64 {
    let read: Result<f64, Failure> = runtime.block_on(async {
        let mut stream = connect().await?;
        stream.write_all(request().as_bytes()).await?;
        let before = thread_time();
        let (mut buffer, mut read) = (vec![0; BUFFER], 0);
        while read < BYTES {
            match stream.read(&mut buffer).await? {
                0 => return Err("the stream ended early".into()),
                bytes => read += bytes,
            }
        }
        Ok((thread_time() - before) / read as f64)
    });
    read.unwrap_or(f64::NAN)
}

/// What a workload answers with so many bytes.
pub(super) fn request() -> String {
    format!("GET /bytes/{BYTES} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n\r\n")
}
