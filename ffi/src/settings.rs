//! The settings with which a mesh is joined.

mod apply;
mod key;

use std::ffi::{c_char, c_void};

use parking_lot::Mutex;

pub(crate) use self::apply::Joining;
use self::key::Key;
use crate::{
    arguments::{Out, text},
    boundary::call,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    log::{LogCallback, sidestep_log_fn},
    status::sidestep_status,
};

/// The settings with which a mesh is joined.
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
    const MANY: usize = 10_000;
}

/// Creates empty settings.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_settings_new(
    settings: *mut *mut sidestep_settings,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (settings, err) =
        unsafe { (Out::required(settings, std::ptr::null_mut(), "settings"), Out::error(err)) };
    call(err, || {
        settings?.set(handle::create(Settings::default())?);
        Ok(())
    })
}

/// Sets one setting. If a key is set twice, the later value applies, except for `dns-client-user`.
///
/// key                       | value
/// --------------------------|-----------------------------------------------------------------------------------------
/// `vm-files`                | the directory that `istioctl x workload entry configure` wrote
/// `installed`               | the root directory of a system with Istio's VM package, usually `/`
/// `env.NAME`                | an environment variable of Istio's agent, such as `env.POD_NAMESPACE`; overrides the variable in a file
/// `namespace`               | the workload's namespace
/// `service-account`         | the workload's service account
/// `token-file`              | the file with the bootstrap token; it is read again for each use
/// `roots-file`              | the file with the mesh's root certificates (PEM); it is read again for each use
/// `istiod-address`          | `HOST:PORT` of istiod
/// `istiod-name`             | the DNS name in istiod's certificate, if it differs from the host of istiod's address
/// `state-dir`               | the state directory; with it, a restart needs neither the token nor istiod
/// `join-timeout-ms`         | the timeout of `sidestep_wait_ready` for `timeout_ms` -1; the default is 15000
/// `connect-timeout-ms`      | the timeout of connections for `timeout_ms` -1; the default is 10000
/// `mtls`                    | `required`: plaintext is refused; `as-configured` (the default): the mesh configuration decides
/// `outbound-traffic-policy` | `registry-only`: connections only to hosts in the mesh; `allow-any` (the default): also to other hosts, in plaintext
/// `plaintext-to-mesh-names` | `refused` (the default): a name of the mesh that istiod does not list is not reached in plaintext; `allowed`
/// `short-names-before-first-table` | before istiod's first name table, names of one or two labels `wait` (the default) or are sent `upstream`
/// `dns-client-user`         | the ID of another user whose DNS queries receive loopback addresses, for example of systemd-resolved; each value adds a user
/// `upstream-dns`            | `IP:PORT` of the DNS server for names outside the mesh; the default is the system's DNS configuration
/// `threads`                 | the number of worker threads, 1 to 64; the default is 1
///
/// Fails with `SIDESTEP_E_INVALID_ARGUMENT` for an unknown key or an invalid value. This function does not read the
/// files that a value names; `sidestep_join` reads them.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_settings_set(
    settings: *mut sidestep_settings,
    key: *const c_char,
    value: *const c_char,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let settings = handle::get::<Settings>(settings)?;
        // SAFETY: the header requires valid texts.
        let (key, value) = unsafe { (text(key, "key")?, text(value, "value")?) };
        let key = Key::checked(key, value)?;
        settings.chosen.lock().push((key, value.to_owned()));
        Ok(())
    })
}

/// Sets the log callback. The callback receives the events of `level`, from `SIDESTEP_LOG_ERROR` to
/// `SIDESTEP_LOG_TRACE`, and of all more severe levels. A NULL callback turns logging off, which is the default: the
/// library never writes to standard output or standard error.
///
/// The library calls the callback on the threads of the mesh, possibly on several threads simultaneously. The callback
/// receives `user_data`, the level, and one line without a newline, which is valid during the call. The callback may
/// call functions that do not block; functions that block return `SIDESTEP_E_WOULD_DEADLOCK` there. It must not throw
/// an exception or call longjmp, and must not wait for a thread that frees the mesh. `user_data` must be valid until
/// the mesh, and every object that was created from it, has been freed.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_settings_log(
    settings: *mut sidestep_settings,
    level: i32,
    callback: sidestep_log_fn,
    user_data: *mut c_void,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let settings = handle::get::<Settings>(settings)?;
        let log = LogCallback::checked(level, callback, user_data)?;
        *settings.log.lock() = log;
        Ok(())
    })
}

/// Frees settings. Meshes that were joined with them do not change. Does nothing if `settings` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_settings_free(settings: *mut sidestep_settings) -> sidestep_status {
    handle::free::<Settings>(settings)
}
