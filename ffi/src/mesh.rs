//! The mesh object, and the functions that join and leave a mesh.

mod health;
mod ready;

use std::{ffi::c_char, ptr, sync::Arc, time::Duration};

use mesh_connector::Mesh;

pub(crate) use self::ready::ready;
use crate::{
    arguments::{Out, text, timeout},
    boundary::call,
    descriptor::Connections,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    log::Gate,
    runtime::Runtime,
    settings::{Joining, Settings, sidestep_settings},
    standard_descriptors,
    status::sidestep_status,
    thread::Reports,
};

/// A mesh that this process has joined: its identity, its connection to istiod, and the threads that serve both.
#[derive(Debug)]
pub struct sidestep_mesh(());

/// The object behind a `sidestep_mesh` handle. Objects that were created from a mesh hold it, and so keep its threads alive.
pub(crate) struct Member {
    pub(crate) mesh: Mesh,
    /// The users, other than that of the process, whose DNS queries receive loopback addresses of a bridge.
    pub(crate) dns_client_users: Vec<u32>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) reports: Reports,
    // `runtime` is dropped last, because its drop waits for the threads.
    pub(crate) runtime: Runtime,
}

impl Kind for Member {
    type C = sidestep_mesh;
    const TAG: u8 = 4;
    const NAME: &'static str = "sidestep_mesh";

    /// Writes the warning on a thread of the mesh, because the log callback is called only there.
    fn warn(&self, warning: &str) {
        let warning = warning.to_owned();
        self.runtime.handle().spawn(async move { tracing::warn!("{warning}") });
    }
}

impl Member {
    fn join(settings: &Settings) -> Result<Self, Failure> {
        standard_descriptors::occupy().map_err(|error| {
            let what = "the descriptors 0 to 2 are closed, and /dev/null cannot be opened in their place";
            Failure::of_system(what, &error)
        })?;
        let joining = Joining::read(settings)?;
        let gate = Arc::new(Gate::default());
        let log = joining.log.map(|callback| callback.dispatch(gate.clone()));
        let reports = Reports { recorder: Arc::default(), log, gate };
        let runtime = Runtime::start(joining.threads, reports.clone())?;
        let mesh = {
            let _runtime = runtime.handle().enter();
            joining.mesh.spawn()?
        };
        let dns_client_users = joining.dns_client_users;
        Ok(Self { mesh, dns_client_users, connections: Arc::default(), reports, runtime })
    }
}

/// Starts to join a mesh, and returns without waiting; `sidestep_wait_ready` waits. The library retries in the
/// background until the mesh is freed. Calls that need data from istiod wait for the data, each within its own timeout.
///
/// Fails with `SIDESTEP_E_CONFIG` if the settings, or the files that they name, are invalid. The program may free `settings`
/// afterwards.
///
/// If standard input, output or error is closed, the call opens `/dev/null` in its place and leaves it open. Otherwise
/// the connection to a service could become standard output, and the service would receive what the program prints.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_join(
    settings: *const sidestep_settings,
    mesh: *mut *mut sidestep_mesh,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (mesh, err) = unsafe { (Out::required(mesh, ptr::null_mut(), "mesh"), Out::error(err)) };
    call(err, || {
        let mesh = mesh?;
        mesh.set(handle::create(Member::join(&*handle::get::<Settings>(settings)?)?)?);
        Ok(())
    })
}

/// Starts to join a mesh with the files in `folder`, which `istioctl x workload entry configure` wrote. The same as
/// `sidestep_join` with only the setting `vm-files`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_join_vm_files(
    folder: *const c_char,
    mesh: *mut *mut sidestep_mesh,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (mesh, err) = unsafe { (Out::required(mesh, ptr::null_mut(), "mesh"), Out::error(err)) };
    call(err, || {
        let mesh = mesh?;
        // SAFETY: the header requires valid texts.
        let folder = unsafe { text(folder, "folder") }?;
        mesh.set(handle::create(Member::join(&Settings::of_vm_files(folder)?)?)?);
        Ok(())
    })
}

/// Waits until this process has its certificate and the name table. `timeout_ms` 0 checks without waiting; -1 waits for
/// the time in the setting `join-timeout-ms`. The function may be called again after a failure.
///
/// status                     | reason
/// ---------------------------|-------------------------------------------------------------------------------------------
/// SIDESTEP_E_CREDENTIALS     | istiod rejects the bootstrap token; the call fails without waiting further
/// SIDESTEP_E_CONFIG          | the configuration is invalid; the call fails without waiting further
/// SIDESTEP_E_TIMEOUT         | `timeout_ms` expired; the message names what is missing
/// SIDESTEP_E_CONTROL_PLANE   | the setting `join-timeout-ms` expired; the message names what is missing
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_wait_ready(
    mesh: *const sidestep_mesh,
    timeout_ms: i64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let member = handle::get::<Member>(mesh)?;
        let mesh = member.mesh.clone();
        member.runtime.wait(None, async move { ready(&mesh, timeout(timeout_ms)).await })?
    })
}

/// Leaves the mesh: closes the connection to istiod, and rejects new connections with `SIDESTEP_E_CLOSED`. Then waits until all
/// descriptors of `sidestep_connect` have been closed and their data has been sent.
///
/// Fails with `SIDESTEP_E_TIMEOUT` if connections are still open after `timeout_ms` (-1 waits without a limit). They stay open
/// until the mesh is freed.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_shutdown(
    mesh: *const sidestep_mesh,
    timeout_ms: i64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    call(unsafe { Out::error(err) }, || {
        let member = handle::get::<Member>(mesh)?;
        member.runtime.wait(None, leaving(&member, timeout(timeout_ms)))?
    })
}

/// Returns a future that leaves the mesh, and waits until all open connections have ended. Fails after `limit`; `None`
/// waits without a limit.
pub(crate) fn leaving(
    member: &Member,
    limit: Option<Duration>,
) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
    let (mesh, connections) = (member.mesh.clone(), member.connections.clone());
    async move {
        mesh.shutdown().await;
        connections.ended(limit).await
    }
}

/// Returns the state of this process in the mesh as a JSON object.
///
/// field         | value
/// --------------|--------------------------------------------------------------------------------------------------------
/// `ok`          | whether `state` is `synced` and `problems` is empty
/// `state`       | the state of the data from istiod: `connecting`, `from_disk`, `synced` or `stale`
/// `identity`    | the SPIFFE ID of this process, or null without a certificate
/// `problems`    | the current failures: a list of objects with `component` and `message`
/// `connections` | the number of open descriptors of `sidestep_connect`
/// `endpoints`   | the endpoints of the xDS clusters in use: a list of objects with `cluster`, `endpoint` and `connections`
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_health(
    mesh: *const sidestep_mesh,
    json: *mut *mut crate::text::sidestep_text,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (json, err) = unsafe { (Out::required(json, ptr::null_mut(), "json"), Out::error(err)) };
    call(err, || {
        let json = json?;
        json.set(crate::text::create(&health::json(&*handle::get::<Member>(mesh)?).to_string())?);
        Ok(())
    })
}

/// Frees a mesh. Streams, bridges, queues and DNS servers that were created from it keep working; the mesh ends when
/// the last of them is freed.
///
/// The call that ends the mesh stops its threads, and waits up to five seconds for them. It also ends the connections of
/// `sidestep_connect`: readers of their descriptors see the end of the stream, and data that the library has not sent yet is
/// lost. Call `sidestep_shutdown` first to wait for that data. Does nothing if `mesh` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_mesh_free(mesh: *mut sidestep_mesh) -> sidestep_status {
    handle::free::<Member>(mesh)
}
