//! The metrics of a mesh in the text format of Prometheus.

use std::ptr;

use crate::{
    arguments::Out,
    boundary::call,
    error::sidestep_error,
    handle,
    mesh::{Member, sidestep_mesh},
    status::sidestep_status,
    text::{self, sidestep_text},
};

/// Returns the metrics of a mesh in the text format of Prometheus, for the program's own `/metrics` endpoint: Istio's standard
/// metrics of TCP connections (`istio_tcp_…`, with `reporter="source"`), metrics of Istio's agent (`istio_agent_…`), and
/// metrics of Sidestep.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_metrics(
    mesh: *const sidestep_mesh,
    metrics: *mut *mut sidestep_text,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (metrics, err) = unsafe { (Out::required(metrics, ptr::null_mut(), "metrics"), Out::error(err)) };
    call(err, || {
        let metrics = metrics?;
        metrics.set(text::create(&handle::get::<Member>(mesh)?.reports.recorder.render())?);
        Ok(())
    })
}
