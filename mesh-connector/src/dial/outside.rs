//! Connections to hosts outside of the mesh.

use std::{net::IpAddr, sync::Arc};

use tokio::time::{Instant, timeout_at};

use super::attempt;
use crate::{ConnectionInfo, Error, ErrorKind, Host, MeshStream, Target, connection::Details, stream::Io};

/// Upstream DNS: what the mesh's table says does not count.
pub(crate) trait Lookup {
    /// The addresses of a host name; at least one.
    fn lookup(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, Error>> + Send;
}

/// Connects in plaintext to a host that the mesh does not know.
pub(crate) async fn outside(
    target: &Target,
    lookup: &impl Lookup,
    deadline: Instant,
) -> Result<MeshStream, Error> {
    let open = async {
        let addresses = match target.host() {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => lookup.lookup(name).await?,
        };
        attempt::connect(&addresses, target.port())
            .await
            .map_err(|error| {
                Error::with_source(
                    ErrorKind::Dial,
                    format!("cannot connect to {target}, outside of the mesh"),
                    error,
                )
            })
    };
    let tcp = timeout_at(deadline, open).await.unwrap_or_else(|_| {
        let message = format!("no connection to {target}, outside of the mesh, within the deadline");
        Err(Error::new(ErrorKind::Timeout, message))
    })?;
    let peer_addr = tcp.peer_addr().map_err(|error| {
        Error::with_source(
            ErrorKind::Dial,
            format!("{target} closed the connection at once"),
            error,
        )
    })?;
    let details = Details {
        host: target.host().to_string(),
        port: target.port(),
        service: None,
        cluster: None,
        endpoint: peer_addr.to_string(),
        peer_addr,
        gateway: false,
        workload_cluster: None,
        tls: None,
    };
    Ok(MeshStream::new(
        Io::Plaintext(tcp),
        ConnectionInfo(Arc::new(details)),
    ))
}
