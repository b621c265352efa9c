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

/// What a stream is long.
pub(super) const BYTES: usize = 1 << 30;
/// Both streams are open at the same time, and are read in turns: so much of each.
const SLICE: usize = BYTES / 16;
/// Four streams of each.
const ROUNDS: usize = 63;
/// What is read at a time.
const BUFFER: usize = 64 * 1024;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(stage) = peers::stage(&runtime, report, "") else { return Ok(()) };
    let mesh = runtime.block_on(stage.join())?;
    let bare = runtime.block_on(Bare::like(&mesh, Protocol::Http1))?;
    let target = mesh_connector::Target::new(HOST, PORT)?.with_protocol(Protocol::Http1);
    let mut ours = Stream::new(&runtime, async || Ok::<_, Failure>(mesh.connect_to(&target).await?));
    let mut theirs = Stream::new(&runtime, async || bare.connect().await);
    let [ours, theirs] =
        interleaved(ROUNDS, [Box::new(|| ours.slice()), Box::new(|| theirs.slice())]);
    if ours.median().is_nan() || theirs.median().is_nan() {
        return Err("a stream broke".into());
    }
    report
        .row("CPU of the client per byte read", Unit::Nanoseconds, ours)
        .beside("bare tokio-rustls", &theirs)
        .within(Budget::Ratio(1.05));
    Ok(())
}

/// A stream that is read slice by slice, and begun anew at its end.
struct Stream<'a, S, C> {
    runtime: &'a Runtime,
    connect: C,
    open: Option<S>,
    left: usize,
    buffer: Vec<u8>,
}

impl<'a, S, C> Stream<'a, S, C>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: AsyncFn() -> Result<S, Failure>,
{
    fn new(runtime: &'a Runtime, connect: C) -> Self {
        Self { runtime, connect, open: None, left: 0, buffer: vec![0; BUFFER] }
    }

    /// Nanoseconds on the CPU per byte of the next slice.
    fn slice(&mut self) -> f64 {
        let Self { runtime, connect, open, left, buffer } = self;
        let read: Result<f64, Failure> = runtime.block_on(async {
            if *left < SLICE {
                let mut stream = connect().await?;
                stream.write_all(request().as_bytes()).await?;
                (*open, *left) = (Some(stream), BYTES);
            }
            let stream = open.as_mut().ok_or("no stream")?;
            let (before, mut read) = (thread_time(), 0);
            while read < SLICE {
                match stream.read(buffer).await? {
                    0 => return Err("the stream ended early".into()),
                    bytes => read += bytes,
                }
            }
            *left = left.saturating_sub(read);
            Ok((thread_time() - before) / read as f64)
        });
        read.unwrap_or(f64::NAN)
    }
}

/// What a workload answers with so many bytes.
pub(super) fn request() -> String {
    format!("GET /bytes/{BYTES} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n\r\n")
}
