//! Connections without a descriptor: a copy less, and errors that say why.

mod wait;

use std::{
    ffi::c_char,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use mesh_connector::{ConnectionInfo, DetachedStream, MeshStream};
use parking_lot::Mutex;
use rustix::event::PollFlags;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf},
    time::timeout as limited,
};

use self::wait::wait;
use crate::{
    arguments::{Out, bytes, bytes_mut, timeout},
    border::call,
    connect::target,
    connection::{Info, sidestep_info},
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    runtime::refuse_callbacks,
    status::{SIDESTEP_BROKEN, SIDESTEP_TIMEOUT, sidestep_status},
};

/// A connection that is read and written by calls. One thread may read while another writes.
#[derive(Debug)]
pub struct sidestep_stream(());

/// How long the end of a connection may take to be told to the peer.
const FAREWELL: Duration = Duration::from_secs(10);

pub(crate) struct Stream {
    /// Held while bytes pass, and not while they are waited for. `None` only at the end.
    stream: Mutex<Option<DetachedStream>>,
    /// The stream's socket, to wait for.
    fd: RawFd,
    /// Each held by the one call of its direction.
    reading: Mutex<()>,
    writing: Mutex<()>,
    info: ConnectionInfo,
    member: Arc<Member>,
}

impl Kind for Stream {
    type C = sidestep_stream;
    const TAG: u8 = 6;
    const NAME: &'static str = "sidestep_stream";
}

impl Stream {
    fn new(stream: DetachedStream, member: Arc<Member>) -> Self {
        let info = stream.connection().clone();
        let fd = stream.as_fd().as_raw_fd();
        let stream = Mutex::new(Some(stream));
        Self { stream, fd, reading: Mutex::default(), writing: Mutex::default(), info, member }
    }

    fn locked<T>(
        &self,
        work: &mut impl FnMut(Pin<&mut DetachedStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut stream = self.stream.lock();
        match &mut *stream {
            Some(stream) => work(Pin::new(stream), &mut Context::from_waker(Waker::noop())),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Does something on the caller's thread, again whenever the socket is `ready`: nobody else has to be awake for it.
    fn run<T>(
        &self,
        direction: &Mutex<()>,
        ready: PollFlags,
        patience: Option<Duration>,
        mut work: impl FnMut(Pin<&mut DetachedStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, Failure> {
        refuse_callbacks()?;
        let _one = direction.lock();
        let mut deadline = None;
        loop {
            if let Poll::Ready(done) = self.locked(&mut work) {
                return done.map_err(|error| broken(&error));
            }
            // A clock is read only where there is something to wait for.
            let deadline = *deadline
                .get_or_insert_with(|| patience.and_then(|patience| Instant::now().checked_add(patience)));
            // SAFETY: the stream of which it is lives as long as `self`.
            let socket = unsafe { BorrowedFd::borrow_raw(self.fd) };
            if !wait(socket, ready, deadline).map_err(|error| broken(&error))? {
                let message = format!("nothing came within {:?}", patience.unwrap_or_default());
                return Err(Failure::new(SIDESTEP_TIMEOUT, message));
            }
        }
    }

    fn read(&self, buffer: &mut [MaybeUninit<u8>], patience: Option<Duration>) -> Result<usize, Failure> {
        self.run(&self.reading, PollFlags::IN, patience, |stream, cx| {
            let mut buffer = ReadBuf::uninit(buffer);
            stream.poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
        })
    }

    /// Adds to `taken` what was taken of `data`.
    fn write(&self, data: &[u8], patience: Option<Duration>, taken: &mut usize) -> Result<(), Failure> {
        self.run(&self.writing, PollFlags::OUT, patience, |mut stream, cx| {
            while *taken < data.len() {
                match ready!(stream.as_mut().poll_write(cx, &data[*taken..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => *taken += written,
                }
            }
            stream.poll_flush(cx)
        })
    }

    fn shutdown(&self, patience: Option<Duration>) -> Result<(), Failure> {
        self.run(&self.writing, PollFlags::OUT, patience, |stream, cx| stream.poll_shutdown(cx))
    }
}

impl Drop for Stream {
    /// The peer is told that nothing follows, while nobody waits.
    fn drop(&mut self) {
        let stream = self.stream.get_mut().take();
        let Some(mut stream) = stream else { return };
        if Pin::new(&mut stream).poll_shutdown(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        let runtime = self.member.runtime.handle();
        let _inside = runtime.enter();
        if let Ok(mut stream) = stream.attach() {
            runtime.spawn(async move {
                let _ = limited(FAREWELL, stream.shutdown()).await;
            });
        }
    }
}

/// Its threads are not woken for it any more: the caller's wait for it.
fn unwatched(stream: MeshStream) -> Result<DetachedStream, Failure> {
    stream.detach().map_err(|error| broken(&error))
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
        stream.set(handle::give(Stream::new(unwatched(connected)?, member)));
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
        let buffer = unsafe { bytes_mut(data, size) }?;
        count.set(stream.read(buffer, timeout(timeout_ms))?);
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
        let outcome = stream.write(data, timeout(timeout_ms), &mut taken);
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
        stream.shutdown(timeout(timeout_ms))
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
