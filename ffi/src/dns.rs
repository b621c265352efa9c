//! A DNS server, for programs that know nothing else.

use std::{ffi::c_char, net::SocketAddr, ptr, sync::Arc};

use mesh_connector::{Mesh, MeshResolver, bridge::Bridge};
use mesh_resolver::listener::DnsListener;

use crate::{
    arguments::{Out, text},
    border::call,
    bridge::{Bridging, sidestep_bridge},
    error::sidestep_error,
    failure::Failure,
    handle::{self, Kind},
    mesh::{Member, sidestep_mesh},
    status::{SIDESTEP_INVALID_ARGUMENT, sidestep_status},
    thread::{self, Reports},
};

/// A DNS server that knows the mesh's names.
#[derive(Debug)]
pub struct sidestep_dns(());

pub(crate) struct Dns {
    listener: DnsListener,
    // Its addresses are the bridge's.
    _bridging: Option<Arc<Bridging>>,
    // Last: its threads serve what is not the mesh's.
    _member: Arc<Member>,
}

impl Kind for Dns {
    type C = sidestep_dns;
    const TAG: u8 = 9;
    const NAME: &'static str = "sidestep_dns";
}

/// Answers DNS, UDP and TCP, at `address` (`127.0.0.1:15053`, port 0 for one that the system chooses), with one thread of its
/// own. Mesh names have the mesh's addresses; with a `bridge`, which may be NULL, they have loopback addresses behind which
/// it listens on the services' own ports.
///
/// Fails with `SIDESTEP_LISTEN` where `address` cannot be listened on, and with a `bridge` where istiod has not sent its
/// clusters within the setting `connect-timeout-ms` (`SIDESTEP_CONTROL_PLANE`).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sidestep_dns_start(
    mesh: *const sidestep_mesh,
    address: *const c_char,
    bridge: *const sidestep_bridge,
    dns: *mut *mut sidestep_dns,
    err: *mut *mut sidestep_error,
) -> sidestep_status {
    // SAFETY: as the header says of outputs and errors.
    let (dns, err) = unsafe { (Out::required(dns, ptr::null_mut(), "dns"), Out::error(err)) };
    call(err, || {
        let dns = dns?;
        let member = handle::get::<Member>(mesh)?;
        let bridging = if bridge.is_null() { None } else { Some(handle::get::<Bridging>(bridge)?) };
        // SAFETY: as the header says of texts.
        let address = unsafe { text(address, "the address") }?;
        let address: SocketAddr = address.parse().map_err(|_| {
            let message = format!("`{}` is no address: write IP:PORT", address.escape_debug());
            Failure::new(SIDESTEP_INVALID_ARGUMENT, message)
        })?;
        let (mesh, bridge) = (member.mesh.clone(), bridging.as_ref().map(|one| one.bridge.clone()));
        let listener = member.runtime.wait(None, start(mesh, bridge, address, member.reports.clone()))??;
        dns.set(handle::give(Dns { listener, _bridging: bridging, _member: member }));
        Ok(())
    })
}

async fn start(
    mesh: Mesh,
    bridge: Option<Arc<Bridge>>,
    address: SocketAddr,
    reports: Reports,
) -> Result<DnsListener, Failure> {
    let resolver = match bridge {
        None => mesh.raw_resolver().clone(),
        Some(bridge) => {
            let services = bridge.local_services().await?;
            MeshResolver::builder_for(mesh.client()).with_local_addresses(services).build()?
        }
    };
    Ok(DnsListener::builder(resolver)
        .bind(address)
        .with_thread_setup(move || thread::begun(&reports))
        .start()?)
}

/// The port that is listened on; 0 where `dns` is none.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_dns_port(dns: *const sidestep_dns) -> u16 {
    let port = |dns: Arc<Dns>| dns.listener.addresses().first().map_or(0, SocketAddr::port);
    handle::get::<Dns>(dns).map_or(0, port)
}

/// Ends a DNS server and frees it. NULL is nothing to free.
#[unsafe(no_mangle)]
pub extern "C" fn sidestep_dns_free(dns: *mut sidestep_dns) -> sidestep_status {
    handle::free::<Dns>(dns)
}
