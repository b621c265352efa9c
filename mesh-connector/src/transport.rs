//! How a connection to one endpoint is protected: what the control plane says, checked against what may be done.
//!
//! The rule for plaintext (the only place that decides it):
//!
//! | the control plane gives | the endpoint | result |
//! |---|---|---|
//! | TLS with the workload's certificate and the mesh's roots | any | mesh mTLS |
//! | TLS with roots in files (DestinationRule SIMPLE, MUTUAL) | any | that TLS, which is not the mesh's |
//! | TLS without roots (`insecureSkipVerify`), or with secrets of another kind | any | refused |
//! | `raw_buffer`, explicitly (`tlsMode-disabled`) | any | plaintext |
//! | no socket at all, DestinationRule SIMPLE or MUTUAL (`alpn_override`) | any | refused: its TLS is not sent to workloads |
//! | no socket at all | a gateway, or with `tlsMode: istio` | refused: it takes mTLS, and the cluster says nothing of it |
//! | no socket at all, otherwise (DestinationRule DISABLE, service outside of the mesh) | any | plaintext |
//!
//! A PROXY protocol header around any of these comes before its first byte. Where mTLS is required, everything but mesh
//! mTLS is refused.

use nds_client::resources::{
    cluster::{
        ClientCertificate as Certificate, Cluster, ProxyProtocol, TlsContext, TransportSocket,
        ValidationContext as Roots,
    },
    endpoint::Endpoint,
};

use crate::{
    error::{Error, ErrorKind},
    settings::Mtls,
};

/// How a connection is protected, and what comes before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protection<'a> {
    /// The position of the transport socket that says so ([`Cluster::transport_socket_index`]).
    pub(crate) socket: usize,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) security: Security<'a>,
}

/// How a connection is protected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Security<'a> {
    /// With mesh mTLS, configured so.
    Mutual(&'a TlsContext),
    /// With TLS of a DestinationRule's, whose roots and certificate are in files.
    Originated(&'a TlsContext),
    /// Not at all.
    Plaintext,
}

/// Decides for one endpoint.
pub(crate) fn protection<'a>(
    cluster: &'a Cluster,
    endpoint: &Endpoint,
    mtls: Mtls,
) -> Result<Protection<'a>, Error> {
    let index = cluster.transport_socket_index(endpoint);
    let selected = cluster.transport_socket_matches.get(index);
    let socket = selected.map_or(&cluster.transport_socket, |selected| &selected.transport_socket);
    let (socket, proxy_protocol) = match socket {
        TransportSocket::ProxyProtocol { version, inner } => (&**inner, Some(*version)),
        socket => (socket, None),
    };
    let security = match socket {
        TransportSocket::Tls(context) => tls(cluster, context, mtls)?,
        TransportSocket::Plaintext => plaintext(cluster, mtls)?,
        TransportSocket::Absent => absent(cluster, endpoint, mtls)?,
        TransportSocket::Unsupported { type_url } => {
            let message = format!(
                "`{}` asks for the transport socket `{type_url}`, which is not supported",
                cluster.name
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        _ => {
            let message = format!("`{}` asks for a transport socket of an unknown kind", cluster.name);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    Ok(Protection { socket: index, proxy_protocol, security })
}

fn tls<'a>(cluster: &Cluster, context: &'a TlsContext, mtls: Mtls) -> Result<Security<'a>, Error> {
    let name = &cluster.name;
    match (&context.certificate, &context.roots) {
        (Certificate::Workload, Roots::Mesh) => Ok(Security::Mutual(context)),
        (_, Roots::None) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{name}` asks for TLS without verification of the peer (insecureSkipVerify), which is not supported"
            ),
        )),
        _ if mtls == Mtls::Required => Err(Error::new(
            ErrorKind::PlaintextRefused,
            format!(
                "`{name}` asks for TLS with certificates of a DestinationRule's (SIMPLE or MUTUAL), but the mesh's own \
                 mTLS is required here"
            ),
        )),
        _ => Ok(Security::Originated(context)),
    }
}

fn plaintext(cluster: &Cluster, mtls: Mtls) -> Result<Security<'static>, Error> {
    match mtls {
        Mtls::AsConfigured => Ok(Security::Plaintext),
        Mtls::Required => Err(Error::new(
            ErrorKind::PlaintextRefused,
            format!("the control plane asks for plaintext to `{}`, but mTLS is required here", cluster.name),
        )
        .because(&[
            "the endpoint has no sidecar, or no `security.istio.io/tlsMode: istio` label",
            "the endpoints of the ServiceEntry have no serviceAccount",
            "PeerAuthentication DISABLE on the endpoint's port",
            "the service is outside of the mesh",
        ])),
    }
}

/// No socket at all: what a DestinationRule DISABLE and a service outside of the mesh leave, and also what one with a
/// `credentialName` leaves, whose TLS a sidecar would not do either, but which does not mean plaintext.
fn absent(cluster: &Cluster, endpoint: &Endpoint, mtls: Mtls) -> Result<Security<'static>, Error> {
    let name = &cluster.name;
    if cluster.tls_origination {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{name}` asks for TLS (DestinationRule SIMPLE or MUTUAL with a credentialName), and istiod does not \
                 send such certificates to workloads: plaintext would not be what was asked for",
            ),
        ));
    }
    let takes_mtls = endpoint.transport_match.get("tlsMode").is_some_and(|mode| mode != "disabled");
    match (takes_mtls || endpoint.is_gateway(), cluster.external) {
        (false, _) => plaintext(cluster, mtls),
        (true, true) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{name}` is MESH_EXTERNAL, but has an endpoint that only a gateway reaches, and no gateway forwards \
                 services outside of the mesh: make the ServiceEntry MESH_INTERNAL, or take the network away",
            ),
        )),
        (true, false) => Err(Error::new(
            ErrorKind::PlaintextRefused,
            format!(
                "the control plane gives `{name}` no transport socket, but an endpoint that takes mesh mTLS"
            ),
        )
        .because(&[
            "automatic mTLS is off in this mesh: a DestinationRule ISTIO_MUTUAL asks for mTLS",
            "a headless service of which some pods have a sidecar and others have none",
        ])),
    }
}

#[cfg(test)]
mod tests;
