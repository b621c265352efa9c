//! A long stream through the gateway, compared with a minimal client.

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    runtime::Runtime,
};

use crate::{
    Failure,
    peers::{self, Clients, HOST, PORT},
    process::thread_time,
    report::{Budget, Report},
    rounds::tried,
    unit::Unit,
};

pub(super) const ABOUT: &str = "1 GiB through the gateway, CPU per byte";

/// The length of a stream.
pub(super) const BYTES: usize = 1 << 30;
/// Both streams are open at the same time and are read alternately, this number of bytes each.
const SLICE: usize = BYTES / 16;
/// Four streams of each.
const ROUNDS: usize = 63;
/// The size of a read.
const BUFFER: usize = 64 * 1024;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let runtime = peers::one_thread()?;
    let Some(Clients { mesh, target, bare, stage: _stage }) = peers::clients(&runtime, report)? else {
        return Ok(());
    };
    let mut ours = Stream::new(&runtime, async || Ok::<_, Failure>(mesh.connect_to(&target).await?));
    let mut theirs = Stream::new(&runtime, async || bare.connect().await);
    let [[ours], [theirs]] = tried(ROUNDS, [Box::new(|| ours.slice()), Box::new(|| theirs.slice())])?;
    report
        .row("CPU of the client per byte read", Unit::Nanoseconds, ours)
        .beside("bare tokio-rustls", &theirs)
        .within(Budget::Ratio(1.05));
    Ok(())
}

/// A stream that is read in slices. After its end, it is opened again.
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

    /// Returns the CPU time per byte, in nanoseconds, of the next slice.
    fn slice(&mut self) -> Result<[f64; 1], Failure> {
        let Self { runtime, connect, open, left, buffer } = self;
        runtime.block_on(async {
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
            Ok([(thread_time() - before) / read as f64])
        })
    }
}

/// Returns the request that a workload answers with this number of bytes.
pub(super) fn request() -> String {
    format!("GET /bytes/{BYTES} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n\r\n")
}
