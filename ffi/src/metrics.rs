//! What a mesh counts, as Prometheus reads it.

use std::ptr;

use crate::{
    arguments::Out,
    border::call,
    error::sidestep_error,
    handle,
    mesh::{Member, sidestep_mesh},
    status::sidestep_status,
    text::{self, sidestep_text},
};

/// What this mesh has counted, in Prometheus' text format: Istio's standard metrics of connections (`istio_tcp_…`, with
/// `reporter="source"`), those of Istio's agent (`istio_agent_…`), and some of Sidestep's own. For the program's own
/// `/metrics`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_metrics(
    mesh: *const sidestep_mesh,
    metrics: *mut *mut sidestep_text,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (metrics, err) = unsafe { (Out::required(metrics, ptr::null_mut(), "metrics"), Out::error(err)) };
    call(err, || {
        let metrics = metrics?;
        metrics.set(text::give(&handle::get::<Member>(mesh)?.reports.counted.render()));
        Ok(())
    })
}
