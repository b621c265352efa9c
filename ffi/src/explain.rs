//! Why a connection goes where it goes.

use std::{ffi::c_char, ptr};

use mesh_connector::explain::Probe;

use crate::{
    arguments::Out,
    border::call,
    connect::{SIDESTEP_EXPLAIN_JSON, SIDESTEP_EXPLAIN_PROBE, target},
    error::sidestep_error,
    failure::Failure,
    handle,
    mesh::{Member, sidestep_mesh},
    status::sidestep_status,
    text::{self, sidestep_text},
};

/// Explains how a connection to `port` of `host` is made: name, cluster, endpoints and why each was kept or dropped,
/// gateway, SNI, ALPN, identities. What stands in the way is part of the explanation, and no error. `how` is a protocol, and
/// `SIDESTEP_EXPLAIN_JSON` for JSON instead of text for people, and `SIDESTEP_EXPLAIN_PROBE` to connect and see.
///
/// It takes as long as a connection may take, at most.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_explain(
    mesh: *const sidestep_mesh,
    host: *const c_char,
    port: u16,
    how: u32,
    explanation: *mut *mut sidestep_text,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (explanation, err) =
        unsafe { (Out::required(explanation, ptr::null_mut(), "explanation"), Out::error(err)) };
    call(err, || {
        let explanation = explanation?;
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: as the header says of texts.
        let explaining = unsafe { explaining(&member, host, port, how) }?;
        explanation.set(text::give(&member.runtime.wait(None, explaining)?));
        Ok(())
    })
}

/// Explains, as text or JSON.
///
/// # Safety
///
/// That of [`target`].
pub(crate) unsafe fn explaining(
    member: &Member,
    host: *const c_char,
    port: u16,
    how: u32,
) -> Result<impl Future<Output = String> + Send + use<>, Failure> {
    // SAFETY: the caller's promise.
    let target = unsafe { target(host, port, how, SIDESTEP_EXPLAIN_JSON | SIDESTEP_EXPLAIN_PROBE) }?;
    let probe = if how & SIDESTEP_EXPLAIN_PROBE == 0 { Probe::Nothing } else { Probe::Handshake };
    let mesh = member.mesh.clone();
    Ok(async move {
        let explained = mesh.explain_to(&target, probe).await;
        if how & SIDESTEP_EXPLAIN_JSON == 0 { explained.to_string() } else { explained.to_json() }
    })
}
