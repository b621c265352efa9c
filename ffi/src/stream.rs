//! Streams: connections that the program reads and writes by calls, without a descriptor. They avoid one copy of the
//! data, and their errors contain the reason of a failure.

mod wait;

use std::{
    ffi::c_char,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, RawFd},
    pin::Pin,
    ptr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::{Duration, Instant},
};

use mesh_connector::{ConnectionInfo, DetachedStream, MeshStream, Target};
use parking_lot::Mutex;
use rustix::{
    event::PollFlags,
    net::{Shutdown, shutdown},
};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf},
    time::timeout as limited,
};

use self::wait::wait;
use crate::{
    arguments::{Out, bytes, bytes_mut, timeout},
    boundary::call,
    connect::target,
    connection::{Info, sidestep_info},
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    runtime::refuse_callbacks,
    status::{SIDESTEP_E_BAD_HANDLE, SIDESTEP_E_BROKEN, SIDESTEP_E_TIMEOUT, sidestep_status},
};

/// A connection that the program reads and writes by calls. One thread may read while another writes. Several reads, and
/// several writes, happen one after the other.
#[derive(Debug)]
pub struct sidestep_stream(());

/// The timeout for sending the end of a stream that was freed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Stream {
    /// The stream. The lock is held during a read or write of the socket, but not while waiting for the socket. `None`
    /// only in `drop`.
    stream: Mutex<Option<DetachedStream>>,
    /// The descriptor of the stream's socket, for `poll`.
    fd: RawFd,
    /// Two locks: `reading` is held by a call that reads, and `writing` by a call that writes.
    reading: Mutex<()>,
    writing: Mutex<()>,
    /// Whether the program has freed the stream. Calls that were in progress at that time fail.
    freed: AtomicBool,
    info: ConnectionInfo,
    member: Arc<Member>,
}

impl Kind for Stream {
    type C = sidestep_stream;
    const TAG: u8 = 6;
    const NAME: &'static str = "sidestep_stream";
}

impl Stream {
    pub(crate) fn new(stream: DetachedStream, member: Arc<Member>) -> Self {
        let info = stream.connection().clone();
        let fd = stream.as_fd().as_raw_fd();
        let stream = Mutex::new(Some(stream));
        let (reading, writing, freed) = (Mutex::default(), Mutex::default(), AtomicBool::new(false));
        Self { stream, fd, reading, writing, freed, info, member }
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

    /// Calls `work` on the caller's thread until `work` is ready, and waits between the calls until the socket is
    /// `ready`. Fails after `limit`; `None` waits without a limit.
    fn run<T>(
        &self,
        direction: &Mutex<()>,
        ready: PollFlags,
        limit: Option<Duration>,
        mut work: impl FnMut(Pin<&mut DetachedStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Result<T, Failure> {
        refuse_callbacks()?;
        // The clock is read only if the call has to wait.
        let mut deadline = None;
        let mut deadline =
            || *deadline.get_or_insert_with(|| limit.and_then(|limit| Instant::now().checked_add(limit)));
        let timed_out = || {
            let message = format!("the timeout of {:?} expired", limit.unwrap_or_default());
            Failure::new(SIDESTEP_E_TIMEOUT, message)
        };
        // Another call in the same direction may be in progress.
        let _one = match direction.try_lock() {
            Some(locked) => locked,
            None => match deadline() {
                Some(deadline) => direction.try_lock_until(deadline).ok_or_else(timed_out)?,
                None => direction.lock(),
            },
        };
        let freed = || Failure::new(SIDESTEP_E_BAD_HANDLE, "the stream was freed during the call");
        loop {
            if self.freed.load(Ordering::Acquire) {
                return Err(freed());
            }
            if let Poll::Ready(done) = self.locked(&mut work) {
                // If the stream was freed meanwhile, the outcome can be that of the shutdown of the socket.
                return match self.freed.load(Ordering::Acquire) {
                    true => Err(freed()),
                    false => done.map_err(|error| broken(&error)),
                };
            }
            if !wait(self.socket(), ready, deadline()).map_err(|error| broken(&error))? {
                return Err(timed_out());
            }
        }
    }

    fn socket(&self) -> BorrowedFd<'_> {
        // SAFETY: `self` owns the stream, which owns the descriptor.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }

    /// Ends the calls that are in progress. No call starts afterwards, because the handle has been removed.
    ///
    /// A call that waits for the socket wakes up when its direction of the socket is shut down. A call that does not
    /// wait yet either holds the lock of its direction, or sees `freed` after it has acquired that lock.
    fn end_calls(&self) {
        self.freed.store(true, Ordering::Release);
        for (direction, how) in [(&self.reading, Shutdown::Read), (&self.writing, Shutdown::Write)] {
            if direction.try_lock().is_none() {
                // An error means that the connection has broken, which wakes the call too.
                let _ = shutdown(self.socket(), how);
            }
        }
    }

    fn read(&self, buffer: &mut [MaybeUninit<u8>], limit: Option<Duration>) -> Result<usize, Failure> {
        self.run(&self.reading, PollFlags::IN, limit, |stream, cx| {
            let mut buffer = ReadBuf::uninit(buffer);
            stream.poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
        })
    }

    /// Writes `data`, and adds the number of bytes that the connection accepted to `accepted`.
    fn write(&self, data: &[u8], limit: Option<Duration>, accepted: &mut usize) -> Result<(), Failure> {
        self.run(&self.writing, PollFlags::OUT, limit, |mut stream, cx| {
            while *accepted < data.len() {
                match ready!(stream.as_mut().poll_write(cx, &data[*accepted..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => *accepted += written,
                }
            }
            stream.poll_flush(cx)
        })
    }

    fn shutdown(&self, limit: Option<Duration>) -> Result<(), Failure> {
        self.run(&self.writing, PollFlags::OUT, limit, |stream, cx| stream.poll_shutdown(cx))
    }
}

impl Drop for Stream {
    /// Sends the end of the stream. If sending has to wait, the mesh's threads continue it.
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
                let _ = limited(CLOSE_TIMEOUT, stream.shutdown()).await;
            });
        }
    }
}

/// Returns a future that connects to `target`, and detaches the stream from the runtime, so that only the caller's
/// threads wait for its socket. The future does not hold a reference to `member`, because it runs on the threads that
/// `member` owns.
pub(crate) fn connecting(
    member: &Member,
    target: Target,
    limit: Option<Duration>,
) -> impl Future<Output = Result<DetachedStream, Failure>> + Send + use<> {
    let mesh = member.mesh.clone();
    let mesh = limit.map_or_else(|| mesh.clone(), |limit| mesh.with_connect_deadline(limit));
    async move { detached(mesh.connect_to(&target).await?) }
}

fn detached(stream: MeshStream) -> Result<DetachedStream, Failure> {
    stream.detach().map_err(|error| broken(&error))
}

fn broken(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inside| inside.downcast_ref::<mesh_connector::Error>()) {
        Some(error) => error.clone().into(),
        None => Failure::new(SIDESTEP_E_BROKEN, format!("the connection broke: {error}")),
    }
}

/// Connects as `sidestep_connect` does, and stores a stream in `*stream`. The program reads and writes the stream with
/// `sidestep_stream_read` and `sidestep_stream_write`. `flags` is the protocol of the connection:
/// `SIDESTEP_PROTOCOL_TCP` (0), `SIDESTEP_PROTOCOL_HTTP1` or `SIDESTEP_PROTOCOL_HTTP2`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_connect(
    mesh: *const sidestep_mesh,
    host: *const c_char,
    port: u16,
    flags: u32,
    timeout_ms: i64,
    stream: *mut *mut sidestep_stream,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (stream, err) = unsafe { (Out::required(stream, ptr::null_mut(), "stream"), Out::error(err)) };
    call(err, || {
        let stream = stream?;
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: the header requires valid texts.
        let target = unsafe { target(host, port, flags, 0) }?;
        let connecting = connecting(&member, target, timeout(timeout_ms));
        let connected = member.runtime.wait(None, connecting)??;
        stream.set(handle::create(Stream::new(connected, member))?);
        Ok(())
    })
}

/// Reads up to `size` bytes into `data`, and stores the number of bytes read in `*count`. Waits if no byte is
/// available. A count of 0 is the end of the stream.
///
/// status             | reason
/// -------------------|---------------------------------------------------------------------------------------------------
/// SIDESTEP_E_TIMEOUT | `timeout_ms` expired (-1 waits without a limit); no data is lost
/// SIDESTEP_E_TLS     | the peer rejects this process' certificate; the peer's application has not received the written data
/// SIDESTEP_E_BROKEN  | the connection broke
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_read(
    stream: *mut sidestep_stream,
    data: *mut u8,
    size: usize,
    timeout_ms: i64,
    count: *mut usize,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (count, err) = unsafe { (Out::required(count, 0, "count"), Out::error(err)) };
    call(err, || {
        let count = count?;
        let stream = handle::get::<Stream>(stream)?;
        // SAFETY: the header requires a valid buffer.
        let buffer = unsafe { bytes_mut(data, size) }?;
        count.set(stream.read(buffer, timeout(timeout_ms))?);
        Ok(())
    })
}

/// Writes `size` bytes, and stores the number of bytes that the connection accepted in `*count`, even if the call
/// fails. The call does not raise SIGPIPE.
///
/// Fails with `SIDESTEP_E_TIMEOUT` after `timeout_ms` (-1 waits without a limit), and with `SIDESTEP_E_BROKEN` if the
/// connection broke.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_write(
    stream: *mut sidestep_stream,
    data: *const u8,
    size: usize,
    timeout_ms: i64,
    count: *mut usize,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (count, err) = unsafe { (Out::required(count, 0, "count"), Out::error(err)) };
    call(err, || {
        let count = count?;
        let stream = handle::get::<Stream>(stream)?;
        // SAFETY: the header requires a valid buffer.
        let data = unsafe { bytes(data, size) }?;
        let mut accepted = 0;
        let outcome = stream.write(data, timeout(timeout_ms), &mut accepted);
        count.set(accepted);
        outcome
    })
}

/// Ends the write direction of a stream: the peer sees the end of the stream. The program can still read from the
/// stream. Fails as `sidestep_stream_write` does.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_shutdown(
    stream: *mut sidestep_stream,
    timeout_ms: i64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let stream = handle::get::<Stream>(stream)?;
        stream.shutdown(timeout(timeout_ms))
    })
}

/// Returns information about the connection of a stream.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_stream_info(
    stream: *const sidestep_stream,
    info: *mut *mut sidestep_info,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (info, err) = unsafe { (Out::required(info, ptr::null_mut(), "info"), Out::error(err)) };
    call(err, || {
        info?.set(handle::create(Info::new(&handle::get::<Stream>(stream)?.info))?);
        Ok(())
    })
}

/// Frees a stream and closes its connection, without waiting. Data that was written is still sent. If another thread is
/// in a call with this stream, that call ends with `SIDESTEP_E_BAD_HANDLE`, also if it waits without a limit; the data of
/// a write that was in progress may be lost. Does nothing if `stream` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_stream_free(stream: *mut sidestep_stream) -> sidestep_status {
    handle::free_after(stream, Stream::end_calls)
}
