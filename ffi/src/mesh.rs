//! A process in the mesh, as C holds it.

mod health;
mod ready;

use std::{ffi::c_char, ptr, sync::Arc, time::Duration};

use mesh_connector::Mesh;

pub(crate) use self::ready::ready;
use crate::{
    arguments::{Out, text, timeout},
    border::call,
    descriptor::Connections,
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    log::Gate,
    runtime::Runtime,
    settings::{Joining, Settings, sidestep_settings},
    status::sidestep_status,
    thread::Reports,
};

/// A process in a mesh: its identity, its connection to istiod, its threads. Any number of threads may use it at a time.
#[derive(Debug)]
pub struct sidestep_mesh(());

/// Whatever is made from a mesh keeps it, and with it its threads.
pub(crate) struct Member {
    pub(crate) mesh: Mesh,
    pub(crate) connections: Arc<Connections>,
    pub(crate) reports: Reports,
    // Last: it waits for its threads.
    pub(crate) runtime: Runtime,
}

impl Kind for Member {
    type C = sidestep_mesh;
    const TAG: u8 = 4;
    const NAME: &'static str = "sidestep_mesh";
}

impl Member {
    fn join(settings: &Settings) -> Result<Self, Failure> {
        let joining = Joining::read(settings)?;
        let gate = Arc::new(Gate::default());
        let log = joining.log.map(|callback| callback.dispatch(gate.clone()));
        let reports = Reports { counted: Arc::default(), log, gate };
        let runtime = Runtime::start(joining.threads, reports.clone())?;
        let mesh = {
            let _runtime = runtime.handle().enter();
            joining.mesh.spawn()?
        };
        Ok(Self { mesh, connections: Arc::default(), reports, runtime })
    }
}

/// Begins to join a mesh as `settings` say, and returns at once: `sidestep_wait_ready` waits. Joining goes on until the mesh
/// is freed, whatever fails meanwhile, and calls that need something that has not come yet wait for it, within their own
/// deadlines.
///
/// Fails with `SIDESTEP_CONFIG` where files and settings cannot be used. `settings` may be freed afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_join(
    settings: *const sidestep_settings,
    mesh: *mut *mut sidestep_mesh,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (mesh, err) = unsafe { (Out::required(mesh, ptr::null_mut(), "mesh"), Out::error(err)) };
    call(err, || {
        let mesh = mesh?;
        mesh.set(handle::give(Member::join(&*handle::get::<Settings>(settings)?)?));
        Ok(())
    })
}

/// `sidestep_join` with the folder that `istioctl x workload entry configure` wrote, and nothing else set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_join_vm_files(
    folder: *const c_char,
    mesh: *mut *mut sidestep_mesh,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (mesh, err) = unsafe { (Out::required(mesh, ptr::null_mut(), "mesh"), Out::error(err)) };
    call(err, || {
        let mesh = mesh?;
        // SAFETY: as the header says of texts.
        let folder = unsafe { text(folder, "the folder") }?;
        mesh.set(handle::give(Member::join(&Settings::of_vm_files(folder)?)?));
        Ok(())
    })
}

/// Waits until this process has its identity and the mesh's names. `timeout_ms` 0 only asks; -1 is the setting
/// `join-timeout-ms`.
///
/// Fails at once where waiting cannot help (`SIDESTEP_CREDENTIALS`: istiod refuses the token, `SIDESTEP_CONFIG`), and with
/// `SIDESTEP_TIMEOUT` or `SIDESTEP_CONTROL_PLANE` after the time, saying what is in the way. It may be called again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_wait_ready(
    mesh: *const sidestep_mesh,
    timeout_ms: i64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let member = handle::get::<Member>(mesh)?;
        let mesh = member.mesh.clone();
        member.runtime.wait(None, async move { ready(&mesh, timeout(timeout_ms)).await })?
    })
}

/// Leaves the mesh: new connections are refused with `SIDESTEP_CLOSED`, the connection to istiod ends. Then waits until the
/// connections that are open have ended, and fails with `SIDESTEP_TIMEOUT` if some are still open after `timeout_ms`
/// (-1: however long it takes). They stay open then, until the mesh is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_shutdown(
    mesh: *const sidestep_mesh,
    timeout_ms: i64,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of errors.
    call(unsafe { Out::error(err) }, || {
        let member = handle::get::<Member>(mesh)?;
        member.runtime.wait(None, leaving(&member, timeout(timeout_ms)))?
    })
}

/// Leaves, and waits for the connections.
pub(crate) fn leaving(
    member: &Member,
    patience: Option<Duration>,
) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
    let (mesh, connections) = (member.mesh.clone(), member.connections.clone());
    async move {
        mesh.shutdown().await;
        connections.ended(patience).await
    }
}

/// How this process is doing in the mesh, as JSON: `ok`, `state` (`connecting`, `from_disk`, `synced`, `stale`), `identity`,
/// `problems` (each with `part` and `message`), `connections`, `endpoints`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_health(
    mesh: *const sidestep_mesh,
    json: *mut *mut crate::text::sidestep_text,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (json, err) = unsafe { (Out::required(json, ptr::null_mut(), "json"), Out::error(err)) };
    call(err, || {
        let json = json?;
        json.set(crate::text::give(&health::json(&*handle::get::<Member>(mesh)?).to_string()));
        Ok(())
    })
}

/// Frees a mesh. What was made from it (streams, bridges, queues, DNS listeners) keeps it until it is freed too; the last
/// one ends its threads, which is waited for (five seconds at most: the system's name lookup may not come back), and with
/// them the descriptors of `sidestep_connect`: their readers see the end. What a program has written and closed, and is
/// still on its way, is lost then: `sidestep_shutdown` waits for it. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_mesh_free(mesh: *mut sidestep_mesh) -> sidestep_status {
    handle::free::<Member>(mesh)
}
