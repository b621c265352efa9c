//! How a connection to one endpoint is protected: what the control plane says, checked against what may be done.
//!
//! The rule for plaintext (the only place that decides it):
//!
//! | the control plane gives | the endpoint | result |
//! |---|---|---|
//! | TLS with the workload's certificate and the mesh's roots | any | mesh mTLS |
//! | TLS with other certificates or roots (DestinationRule SIMPLE, MUTUAL) | any | refused: not supported yet |
//! | `raw_buffer`, explicitly (`tlsMode-disabled`) | any | plaintext |
//! | no socket at all, service outside of the mesh | without `tlsMode` | plaintext |
//! | no socket at all, service outside of the mesh | with `tlsMode` (a gateway) | refused: no gateway forwards it |
//! | no socket at all, service inside of the mesh | any | refused: DestinationRule DISABLE, but SIMPLE with a `credentialName` reads the same |
//!
//! Where mTLS is required, every plaintext result is refused.

use nds_client::{Certificate, Cluster, Endpoint, Roots, TlsContext, TransportSocket};

use crate::{Error, ErrorKind, Mtls};

/// How a connection is protected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Protection<'a> {
    /// With mesh mTLS, configured so.
    Mutual(&'a TlsContext),
    /// Not at all.
    Plaintext,
}

/// Decides for one endpoint.
pub(crate) fn protection<'a>(
    cluster: &'a Cluster,
    endpoint: &Endpoint,
    mtls: Mtls,
) -> Result<Protection<'a>, Error> {
    match cluster.transport_socket_for(endpoint) {
        TransportSocket::Tls(context) => mutual(cluster, context),
        TransportSocket::Plaintext => plaintext(cluster, mtls),
        TransportSocket::Absent if !cluster.external => Err(absent(cluster)),
        TransportSocket::Absent if endpoint.transport_match.contains_key("tlsMode") => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{}` is MESH_EXTERNAL, but has an endpoint that only a gateway reaches, and no gateway forwards \
                 services outside of the mesh: make the ServiceEntry MESH_INTERNAL, or take the network away",
                cluster.name,
            ),
        )),
        TransportSocket::Absent => plaintext(cluster, mtls),
        TransportSocket::Unsupported { type_url } => Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{}` asks for the transport socket `{type_url}`, which is not supported", cluster.name),
        )),
        _ => Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{}` asks for a transport socket of an unknown kind", cluster.name),
        )),
    }
}

fn mutual<'a>(cluster: &Cluster, context: &'a TlsContext) -> Result<Protection<'a>, Error> {
    let refuse = |what: String| {
        let name = &cluster.name;
        Err(Error::new(ErrorKind::Unsupported, format!("`{name}` asks for {what}, which is not supported")))
    };
    match (&context.certificate, &context.roots) {
        (Certificate::Workload, Roots::Mesh) => Ok(Protection::Mutual(context)),
        (_, Roots::None) => refuse("TLS without verification of the peer (insecureSkipVerify)".into()),
        (_, Roots::Named(name)) => {
            refuse(format!("TLS with the roots `{name}` (DestinationRule SIMPLE or MUTUAL)"))
        }
        (Certificate::Named(name), _) => {
            refuse(format!("TLS with the certificate `{name}` (DestinationRule MUTUAL)"))
        }
        _ => refuse("TLS without a client certificate".into()),
    }
}

fn plaintext(cluster: &Cluster, mtls: Mtls) -> Result<Protection<'static>, Error> {
    match mtls {
        Mtls::AsConfigured => Ok(Protection::Plaintext),
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

fn absent(cluster: &Cluster) -> Error {
    Error::new(
        ErrorKind::PlaintextRefused,
        format!(
            "the control plane gives `{}` no transport socket, which may mean plaintext but does not say so",
            cluster.name,
        ),
    )
    .because(&[
        "a DestinationRule with tls mode DISABLE",
        "a DestinationRule with tls mode SIMPLE and a credentialName, which istiod does not send to workloads",
        "automatic mTLS is off in this mesh",
        "a headless service with pods that have no sidecar",
    ])
}

#[cfg(test)]
mod tests;
