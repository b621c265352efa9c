//! Connections without a descriptor: a copy less, and errors that say why.

use std::{
    ffi::c_char,
    io, ptr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mesh_connector::{ConnectionInfo, MeshStream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf},
    time,
};

use crate::{
    arguments::{Out, bytes, bytes_mut, timeout},
    border::call,
    connect::target,
    connection::{Info, sidestep_info},
    error::{Failure, sidestep_error},
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    runtime::refuse_callbacks,
    signals::without_sigpipe,
    status::{SIDESTEP_BROKEN, SIDESTEP_TIMEOUT, sidestep_status},
};

/// A connection that is read and written by calls. One thread may read while another writes.
#[derive(Debug)]
pub struct sidestep_stream(());

/// How long the end of a connection may take to be told to the peer.
const FAREWELL: Duration = Duration::from_secs(10);

pub(crate) struct Stream {
    read: Mutex<Option<ReadHalf<MeshStream>>>,
    write: Mutex<Option<WriteHalf<MeshStream>>>,
    info: ConnectionInfo,
    member: Arc<Member>,
}

impl Kind for Stream {
    type C = sidestep_stream;
    const TAG: u8 = 6;
    const NAME: &'static str = "sidestep_stream";
}

impl Stream {
    fn new(stream: MeshStream, member: Arc<Member>) -> Self {
        let info = stream.connection().clone();
        let (read, write) = tokio::io::split(stream);
        Self { read: Mutex::new(Some(read)), write: Mutex::new(Some(write)), info, member }
    }

    /// Does something to one half on the caller's thread, which is quicker than on another, and without a signal.
    fn run<H, T>(
        &self,
        half: &Mutex<Option<H>>,
        patience: Option<Duration>,
        work: impl AsyncFnOnce(&mut H) -> io::Result<T>,
    ) -> Result<T, Failure> {
        refuse_callbacks()?;
        let mut half = half.lock().unwrap_or_else(PoisonError::into_inner);
        let half = half.as_mut().ok_or_else(|| broken(&io::ErrorKind::NotConnected.into()))?;
        let limited = async {
            match patience {
                None => Ok(work(half).await),
                Some(patience) => time::timeout(patience, work(half)).await,
            }
        };
        let done = without_sigpipe(
            || self.member.runtime.handle().block_on(limited),
            |done| matches!(done, Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe),
        );
        match done {
            Ok(outcome) => outcome.map_err(|error| broken(&error)),
            Err(_) => Err(Failure::new(SIDESTEP_TIMEOUT, format!("nothing came within {patience:?}"))),
        }
    }
}

impl Drop for Stream {
    /// The peer is told that nothing follows, while nobody waits.
    fn drop(&mut self) {
        let take = |half: &mut Option<WriteHalf<MeshStream>>| half.take();
        let write = take(self.write.get_mut().unwrap_or_else(PoisonError::into_inner));
        let read = self.read.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(write), Some(read)) = (write, read) else { return };
        let mut stream = read.unsplit(write);
        self.member.runtime.handle().spawn(async move {
            let _ = time::timeout(FAREWELL, stream.shutdown()).await;
        });
    }
}

fn broken(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inside| inside.downcast_ref::<mesh_connector::Error>()) {
        Some(error) => error.clone().into(),
        None => Failure::new(SIDESTEP_BROKEN, format!("the connection broke: {error}")),
    }
}

/// Connects as `sidestep_connect` does, for reading and writing by the calls below. `how` is a protocol.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_connect(
    mesh: *const sidestep_mesh,
    host: *const c_char,
    port: u16,
    how: u32,
    timeout_ms: i64,
    stream: *mut *mut sidestep_stream,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (stream, err) = unsafe { (Out::required(stream, ptr::null_mut(), "stream"), Out::error(err)) };
    call(err, || {
        let stream = stream?;
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: as the header says of texts.
        let target = unsafe { target(host, port, how, 0) }?;
        let mesh = member.mesh.clone();
        let mesh = timeout(timeout_ms).map_or_else(|| mesh.clone(), |time| mesh.with_connect_deadline(time));
        let connected = member.runtime.wait(None, async move { mesh.connect_to(&target).await })??;
        stream.set(handle::give(Stream::new(connected, member)));
        Ok(())
    })
}

/// Reads what there is, `size` bytes at most, and waits for something while there is nothing. `*count` 0 is the end.
///
/// Fails with `SIDESTEP_TIMEOUT` after `timeout_ms` (-1: never), when nothing is lost; with `SIDESTEP_TLS` where the peer
/// refuses this process' certificate, when nothing that was written has reached the application; with `SIDESTEP_BROKEN`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_read(
    stream: *mut sidestep_stream,
    data: *mut u8,
    size: usize,
    timeout_ms: i64,
    count: *mut usize,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (count, err) = unsafe { (Out::required(count, 0, "count"), Out::error(err)) };
    call(err, || {
        let count = count?;
        let stream = handle::get::<Stream>(stream)?;
        // SAFETY: as the header says of buffers.
        let mut buffer = ReadBuf::uninit(unsafe { bytes_mut(data, size) }?);
        stream.run(&stream.read, timeout(timeout_ms), async |half| half.read_buf(&mut buffer).await)?;
        count.set(buffer.filled().len());
        Ok(())
    })
}

/// Writes all `size` bytes. `*count` is how many of them were taken, also where it fails: with `SIDESTEP_TIMEOUT` after
/// `timeout_ms` (-1: never), or with `SIDESTEP_BROKEN`. It never raises SIGPIPE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_write(
    stream: *mut sidestep_stream,
    data: *const u8,
    size: usize,
    timeout_ms: i64,
    count: *mut usize,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (count, err) = unsafe { (Out::required(count, 0, "count"), Out::error(err)) };
    call(err, || {
        let count = count?;
        let stream = handle::get::<Stream>(stream)?;
        // SAFETY: as the header says of buffers.
        let data = unsafe { bytes(data, size) }?;
        let mut taken = 0;
        let outcome = stream.run(&stream.write, timeout(timeout_ms), async |half| {
            while taken < data.len() {
                match half.write(&data[taken..]).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    written => taken += written,
                }
            }
            half.flush().await
        });
        count.set(taken);
        outcome
    })
}

/// Tells the peer that nothing follows; reading goes on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_shutdown(
    stream: *mut sidestep_stream,
    timeout_ms: i64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let stream = handle::get::<Stream>(stream)?;
        stream.run(&stream.write, timeout(timeout_ms), async |half| half.shutdown().await)
    })
}

/// Tells what the connection is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_info(
    stream: *const sidestep_stream,
    info: *mut *mut sidestep_info,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (info, err) = unsafe { (Out::required(info, ptr::null_mut(), "info"), Out::error(err)) };
    call(err, || {
        info?.set(handle::give(Info::new(&handle::get::<Stream>(stream)?.info)));
        Ok(())
    })
}

/// Closes a stream and frees it, at once: what was written arrives. A call that another thread has under way on it ends
/// first. NULL is nothing to close.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_stream_close(stream: *mut sidestep_stream) -> sidestep_status {
    handle::free::<Stream>(stream)
}
