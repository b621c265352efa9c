//! The function `sidestep_explain`, which explains how a connection is made.

use std::{ffi::c_char, ptr};

use mesh_connector::explain::Probe;

use crate::{
    arguments::Out,
    boundary::call,
    connect::{SIDESTEP_FLAG_EXPLAIN_JSON, SIDESTEP_FLAG_EXPLAIN_PROBE, target},
    error::sidestep_error,
    failure::Failure,
    handle,
    mesh::{Member, sidestep_mesh},
    status::sidestep_status,
    text::{self, sidestep_text},
};

/// Explains how a connection to `port` of `host` is made: name, cluster, gateway, SNI, ALPN, identities, and each endpoint with
/// the reason why it can or cannot be selected. A step that fails is part of the explanation, and not an error of this call.
///
/// `flags` is the protocol of the connection, `SIDESTEP_PROTOCOL_TCP` (0), `SIDESTEP_PROTOCOL_HTTP1` or
/// `SIDESTEP_PROTOCOL_HTTP2`. It can be combined with `SIDESTEP_FLAG_EXPLAIN_JSON`, which selects JSON instead of
/// readable text, and with `SIDESTEP_FLAG_EXPLAIN_PROBE`, which opens a connection and reports its result.
///
/// The call takes at most the time in the setting `connect-timeout-ms`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_explain(
    mesh: *const sidestep_mesh,
    host: *const c_char,
    port: u16,
    flags: u32,
    explanation: *mut *mut sidestep_text,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (explanation, err) =
        unsafe { (Out::required(explanation, ptr::null_mut(), "explanation"), Out::error(err)) };
    call(err, || {
        let explanation = explanation?;
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: the header requires valid texts.
        let explaining = unsafe { explaining(&member, host, port, flags) }?;
        explanation.set(text::create(&member.runtime.wait(None, explaining)?)?);
        Ok(())
    })
}

/// Returns a future for the explanation: JSON if `flags` contains `SIDESTEP_FLAG_EXPLAIN_JSON`, else readable text.
///
/// # Safety
///
/// The same as [`target`].
pub(crate) unsafe fn explaining(
    member: &Member,
    host: *const c_char,
    port: u16,
    flags: u32,
) -> Result<impl Future<Output = String> + Send + use<>, Failure> {
    let allowed = SIDESTEP_FLAG_EXPLAIN_JSON | SIDESTEP_FLAG_EXPLAIN_PROBE;
    // SAFETY: the caller upholds the requirements of `target`.
    let target = unsafe { target(host, port, flags, allowed) }?;
    let probe = if flags & SIDESTEP_FLAG_EXPLAIN_PROBE == 0 { Probe::Nothing } else { Probe::Handshake };
    let mesh = member.mesh.clone();
    Ok(async move {
        let explained = mesh.explain_to(&target, probe).await;
        if flags & SIDESTEP_FLAG_EXPLAIN_JSON == 0 { explained.to_string() } else { explained.to_json() }
    })
}
