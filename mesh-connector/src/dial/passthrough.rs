//! Connections to hosts outside the mesh.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Weak},
};

use tokio::time::{Instant, timeout_at};

use super::socket;
use crate::{
    connection::{ConnectionInfo, ConnectionKey, Details},
    error::{Error, ErrorKind},
    stream::{Io, MeshStream},
    target::Target,
};

/// Connects in plaintext to a host outside the mesh, at the given addresses.
pub(crate) async fn passthrough(
    target: &Target,
    addresses: &[IpAddr],
    key: ConnectionKey,
    deadline: Instant,
) -> Result<MeshStream, Error> {
    let addresses: Vec<_> = addresses.iter().map(|ip| SocketAddr::new(*ip, target.port())).collect();
    let tcp = match timeout_at(deadline, socket::connect(&addresses, None)).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(cannot_connect(target, error)),
        Err(_) => {
            let message = format!("cannot connect to {target}, outside the mesh, within the deadline");
            return Err(Error::new(ErrorKind::Timeout, message));
        }
    };
    let peer_addr = tcp.peer_addr().map_err(|error| cannot_connect(target, error))?;
    let details = Details {
        key,
        host: target.host().to_string(),
        port: target.port(),
        service: None,
        cluster: None,
        endpoint: peer_addr.to_string(),
        peer_addr,
        gateway: false,
        workload_cluster: None,
        workload: None,
        tls: None,
        active: Weak::new(),
    };
    Ok(MeshStream::new(Io::Plaintext(tcp.into()), ConnectionInfo(Arc::new(details)), None))
}

fn cannot_connect(target: &Target, error: std::io::Error) -> Error {
    Error::dial(format!("cannot connect to {target}, outside the mesh"), error)
}
