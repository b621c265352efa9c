//! The log callback: a function of the program that receives the log of a mesh.

mod gate;

use std::{
    ffi::{c_char, c_void},
    io,
    sync::Arc,
};

use tracing::{Dispatch, Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

pub(crate) use self::gate::Gate;
use crate::{arguments::c_string, failure::Failure, status::SIDESTEP_E_INVALID_ARGUMENT};

/// The log level of failures that stop a part of the library.
pub const SIDESTEP_LOG_ERROR: i32 = 1;
/// The log level of failures during which the library keeps the last valid state in use.
pub const SIDESTEP_LOG_WARN: i32 = 2;
/// The log level of changes of certificates and of streams to istiod.
pub const SIDESTEP_LOG_INFO: i32 = 3;
/// The log level of pushes and connections.
pub const SIDESTEP_LOG_DEBUG: i32 = 4;
/// The log level that includes all events.
pub const SIDESTEP_LOG_TRACE: i32 = 5;

/// A function that receives one line of the log. See `sidestep_settings_log`.
pub type sidestep_log_fn =
    Option<unsafe extern "C" fn(user_data: *mut c_void, level: i32, line: *const c_char)>;

type Function = unsafe extern "C" fn(*mut c_void, i32, *const c_char);

#[derive(Clone, Copy, Debug)]
pub(crate) struct LogCallback {
    level: Level,
    function: Function,
    /// The address in the pointer `user_data` that the program passed. The library does not dereference it.
    user_data: usize,
}

impl LogCallback {
    pub(crate) fn checked(
        level: i32,
        function: sidestep_log_fn,
        user_data: *mut c_void,
    ) -> Result<Option<Self>, Failure> {
        let Some(function) = function else { return Ok(None) };
        let level = match level {
            SIDESTEP_LOG_ERROR => Level::ERROR,
            SIDESTEP_LOG_WARN => Level::WARN,
            SIDESTEP_LOG_INFO => Level::INFO,
            SIDESTEP_LOG_DEBUG => Level::DEBUG,
            SIDESTEP_LOG_TRACE => Level::TRACE,
            _ => {
                let message = format!("the log level {level} is invalid: pass 1 to 5");
                return Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message));
            }
        };
        Ok(Some(Self { level, function, user_data: user_data.expose_provenance() }))
    }

    /// Creates the tracing subscriber of the mesh's threads. The subscriber passes lines to the log callback until
    /// `gate` is closed.
    pub(crate) fn dispatch(self, gate: Arc<Gate>) -> Dispatch {
        let log = tracing_subscriber::fmt().with_ansi(false).without_time().with_level(false);
        log.with_max_level(self.level).with_writer(Lines(self, gate)).finish().into()
    }

    fn call(&self, level: Level, line: &str) {
        let level = match level {
            Level::ERROR => SIDESTEP_LOG_ERROR,
            Level::WARN => SIDESTEP_LOG_WARN,
            Level::INFO => SIDESTEP_LOG_INFO,
            Level::DEBUG => SIDESTEP_LOG_DEBUG,
            Level::TRACE => SIDESTEP_LOG_TRACE,
        };
        let (line, user_data) = (c_string(line), std::ptr::with_exposed_provenance_mut(self.user_data));
        // SAFETY: the header requires a function that may be called with this pointer on any thread until the mesh is freed.
        // The line is valid during the call.
        unsafe { (self.function)(user_data, level, line.as_ptr()) };
    }
}

struct Lines(LogCallback, Arc<Gate>);

/// The writer for one log event, with the level of the event.
struct Line<'a>(&'a Lines, Level);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self, Level::INFO)
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Line<'a> {
        Line(self, *event.level())
    }
}

impl io::Write for Line<'_> {
    /// Passes one log event to the callback: the subscriber calls `write` once for each event.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Line(Lines(callback, gate), level) = self;
        gate.pass(|| callback.call(*level, String::from_utf8_lossy(line).trim_end()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
