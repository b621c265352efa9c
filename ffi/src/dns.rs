//! The DNS server, for programs that resolve mesh names only by DNS queries.

use std::{
    ffi::c_char,
    net::SocketAddr,
    ptr,
    sync::{Arc, Weak},
};

use mesh_connector::MeshResolver;
use mesh_resolver::listener::DnsListener;

use crate::{
    arguments::{Out, text},
    boundary::call,
    bridge::{BridgeObject, sidestep_bridge},
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_E_BAD_HANDLE, SIDESTEP_E_INVALID_ARGUMENT, sidestep_status},
    thread,
};

/// A DNS server that answers mesh names.
#[derive(Debug)]
pub struct sidestep_dns(());

/// The object behind a `sidestep_dns` handle.
pub(crate) struct Dns {
    listener: DnsListener,
    // The bridge that listens on the addresses in the answers. `None` if the answers contain the addresses of the name
    // table.
    _bridge: Option<Arc<BridgeObject>>,
    // `_member` is dropped last, because its threads forward queries to upstream DNS.
    _member: Arc<Member>,
}

impl Kind for Dns {
    type C = sidestep_dns;
    const TAG: u8 = 9;
    const NAME: &'static str = "sidestep_dns";
}

impl Dns {
    /// Creates the object of a started DNS server. Fails if its bridge was freed after the listener was started.
    pub(crate) fn new(started: Started, member: Arc<Member>) -> Result<Self, Failure> {
        let freed =
            || Failure::new(SIDESTEP_E_BAD_HANDLE, "the bridge was freed while the DNS server started");
        let bridge = started.bridge.map(|bridge| bridge.upgrade().ok_or_else(freed)).transpose()?;
        Ok(Self { listener: started.listener, _bridge: bridge, _member: member })
    }
}

/// A started DNS listener that is not part of a `Dns` yet. The threads of a mesh create this value. The reference to
/// the bridge is weak, because the threads must not hold an object that owns them.
#[derive(Debug)]
pub(crate) struct Started {
    listener: DnsListener,
    bridge: Option<Weak<BridgeObject>>,
}

/// Starts a DNS server over UDP and TCP at `address`, such as `127.0.0.1:15053`; with port 0 the system chooses a port.
/// The server has its own thread, and forwards queries for other names to upstream DNS. If `bridge` is NULL, the server
/// answers mesh names with the addresses of the name table. If `bridge` is not NULL, the server answers mesh names with
/// loopback addresses, on which the bridge listens on all ports of the service. If the bridge cannot listen on one of
/// these ports, because another program listens there or the port is below 1024, the answer is SERVFAIL. Otherwise
/// another program could receive the data of the client. Only clients of the same user receive these addresses, unless
/// the bridge has `SIDESTEP_ACCESS_ANY`; other clients get REFUSED for mesh names.
///
/// Fails with `SIDESTEP_E_LISTEN` if `address` is not available. With a bridge, fails with `SIDESTEP_E_CONTROL_PLANE`
/// if istiod does not send the clusters within the time in the setting `connect-timeout-ms`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_dns_start(
    mesh: *const sidestep_mesh,
    address: *const c_char,
    bridge: *const sidestep_bridge,
    dns: *mut *mut sidestep_dns,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: the header requires valid outputs.
    let (dns, err) = unsafe { (Out::required(dns, ptr::null_mut(), "dns"), Out::error(err)) };
    call(err, || {
        let dns = dns?;
        let member = handle::get::<Member>(mesh)?;
        // SAFETY: the header requires valid texts.
        let start = unsafe { starting(&member, address, bridge) }?;
        let started = member.runtime.wait(None, start)??;
        dns.set(handle::create(Dns::new(started, member)?)?);
        Ok(())
    })
}

/// Returns a future that starts a DNS listener on `address`, with a bridge if `bridge` is not NULL.
///
/// # Safety
///
/// The same as [`text`].
pub(crate) unsafe fn starting(
    member: &Member,
    address: *const c_char,
    bridge: *const sidestep_bridge,
) -> Result<impl Future<Output = Result<Started, Failure>> + Send + use<>, Failure> {
    let bridge = if bridge.is_null() { None } else { Some(handle::get::<BridgeObject>(bridge)?) };
    // SAFETY: the caller upholds the requirements of `text`.
    let address = unsafe { text(address, "address") }?;
    let address: SocketAddr = address.parse().map_err(|_| {
        let message = format!("the address `{}` is invalid: pass IP:PORT", address.escape_debug());
        Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message)
    })?;
    let (mesh, reports) = (member.mesh.clone(), member.reports.clone());
    let local = bridge.as_ref().map(|bridge| bridge.bridge.clone());
    let bridge = bridge.as_ref().map(Arc::downgrade);
    Ok(async move {
        let resolver = match local {
            None => mesh.raw_resolver().clone(),
            Some(local) => {
                let services = local.local_services().await?;
                MeshResolver::builder_for(mesh.client()).with_local_addresses(services).build()?
            }
        };
        let builder = DnsListener::builder(resolver).bind(address);
        let listener = builder.with_thread_setup(move || thread::begun(&reports)).start()?;
        Ok(Started { listener, bridge })
    })
}

/// Returns the port of a DNS server, or 0 if `dns` is not a valid handle.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_dns_port(dns: *const sidestep_dns) -> u16 {
    let port = |dns: &Dns| dns.listener.addresses().first().map_or(0, SocketAddr::port);
    handle::read(dns, 0, port)
}

/// Stops a DNS server and frees it. Does nothing if `dns` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_dns_free(dns: *mut sidestep_dns) -> sidestep_status {
    handle::free::<Dns>(dns)
}
