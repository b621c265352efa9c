//! How a mesh is joined.

mod apply;
mod key;

use std::ffi::{c_char, c_void};

use parking_lot::Mutex;

pub(crate) use self::apply::Joining;
use self::key::Key;
use crate::{
    arguments::{Out, text},
    border::call,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    log::{LogCallback, sidestep_log_fn},
    status::sidestep_status,
};

/// How a mesh is to be joined. Any thread may use it.
#[derive(Debug)]
pub struct sidestep_settings(());

#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) chosen: Mutex<Vec<(Key, String)>>,
    pub(crate) log: Mutex<Option<LogCallback>>,
}

impl Settings {
    pub(crate) fn of_vm_files(folder: &str) -> Result<Self, Failure> {
        let key = Key::checked("vm-files", folder)?;
        Ok(Self { chosen: Mutex::new(vec![(key, folder.to_owned())]), log: Mutex::default() })
    }
}

impl Kind for Settings {
    type C = sidestep_settings;
    const TAG: u8 = 3;
    const NAME: &'static str = "sidestep_settings";
}

/// Settings with nothing set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_settings_new(
    settings: *mut *mut sidestep_settings,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (settings, err) =
        unsafe { (Out::required(settings, std::ptr::null_mut(), "settings"), Out::error(err)) };
    call(err, || {
        settings?.set(handle::give(Settings::default()));
        Ok(())
    })
}

/// Sets one thing. What is set twice has the later value, but for `env.NAME`, of which there is one for each name.
///
/// key                   | value
/// ----------------------|---------------------------------------------------------------------------------------------
/// `vm-files`            | folder that `istioctl x workload entry configure` wrote
/// `installed`           | root of a system on which Istio's package for VMs is installed, usually `/`
/// `env.NAME`            | variable as Istio's agent reads it, over those of files; `env.POD_NAMESPACE` for instance
/// `namespace`           | the workload's namespace
/// `service-account`     | the workload's service account
/// `token-file`          | bootstrap token, read again at each use
/// `roots-file`          | the mesh's roots in PEM, read again at each use
/// `istiod-address`      | `HOST:PORT` of istiod
/// `istiod-name`         | name in istiod's certificate
/// `state-dir`           | folder for certificate and snapshot, so that a restart needs neither token nor istiod
/// `join-timeout-ms`     | how long `sidestep_wait_ready` waits where it is given -1
/// `connect-timeout-ms`  | how long a connection may take to come about where -1 is given; 10000
/// `mtls`                | `required`: mTLS or nothing; `as-configured`: as the control plane says
/// `outside`             | `refused`: the mesh's hosts alone; `allowed`: others by upstream DNS, unprotected
/// `upstream-dns`        | `IP:PORT` of the DNS server for other names; the host's own where it is not set
/// `threads`             | threads that work, 1 to 64; 1. One more may be started for the system's name lookup
///
/// Files are read by `sidestep_join`, not here. A key that is none, and a value that its key does not take, are
/// `SIDESTEP_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_settings_set(
    settings: *mut sidestep_settings,
    key: *const c_char,
    value: *const c_char,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let settings = handle::get::<Settings>(settings)?;
        // SAFETY: as the header says of texts.
        let (key, value) = unsafe { (text(key, "the key")?, text(value, "the value")?) };
        let key = Key::checked(key, value)?;
        settings.chosen.lock().push((key, value.to_owned()));
        Ok(())
    })
}

/// Has the mesh tell its log to `callback`, up to `level` (`SIDESTEP_LOG_ERROR` to `SIDESTEP_LOG_TRACE`). Without it there
/// is no log, and nothing is ever written to standard output or error.
///
/// The callback is called on the mesh's threads, on several at a time where there are several; it gets `user_data`, a
/// level and a line without an end of line, which belongs to the library. It may call whatever does not block; what blocks
/// returns `SIDESTEP_WOULD_DEADLOCK` there. It must not unwind or jump out, nor wait for a thread that frees the mesh. It
/// is called until the mesh has been freed and all that was made from it; `user_data` must live as long. NULL for none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_settings_log(
    settings: *mut sidestep_settings,
    level: i32,
    callback: sidestep_log_fn,
    user_data: *mut c_void,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let settings = handle::get::<Settings>(settings)?;
        let log = LogCallback::checked(level, callback, user_data)?;
        *settings.log.lock() = log;
        Ok(())
    })
}

/// Frees settings; meshes that were joined with them keep what they were told. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_settings_free(settings: *mut sidestep_settings) -> sidestep_status {
    handle::free::<Settings>(settings)
}
