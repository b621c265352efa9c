//! Decides the protection of a connection to an endpoint, from the configuration of the control plane and the settings
//! of the program.
//!
//! The rules (only this module decides about plaintext):
//!
//! | configuration of the control plane | endpoint | result |
//! |---|---|---|
//! | TLS with the certificate of the workload and the roots of the mesh | any | mesh mTLS |
//! | TLS with roots in files (DestinationRule SIMPLE, MUTUAL) | any | this TLS, without mesh identities |
//! | TLS without roots (`insecureSkipVerify`), or with secrets of another kind | any | refused |
//! | TLS with a field that restricts trust and is not supported (pinned certificates, CRL, typed SANs, …) | any | refused |
//! | explicit `raw_buffer` (`tlsMode-disabled`) | any | plaintext |
//! | no transport socket, DestinationRule SIMPLE or MUTUAL (the metadata contains `alpn_override`) | any | refused: istiod does not send these certificates to workloads |
//! | no transport socket | a gateway, or with `tlsMode: istio` | refused: the endpoint requires mTLS, and the cluster does not configure it |
//! | no transport socket, and neither of the two rows above applies (DestinationRule DISABLE, service outside the mesh) | any | plaintext |
//!
//! If the control plane configures a PROXY protocol header, the client sends this header first in all these cases. If
//! the program requires mTLS, everything except mesh mTLS is refused.

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

/// The protection of a connection and its PROXY protocol header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TransportDecision<'a> {
    /// The index of the transport socket in the cluster ([`Cluster::transport_socket_index`]).
    pub(crate) socket: usize,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
    pub(crate) security: TransportSecurity<'a>,
}

/// The protection of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TransportSecurity<'a> {
    /// Mesh mTLS.
    Mutual(&'a TlsContext),
    /// TLS with roots and certificates in files of a DestinationRule.
    Originated(&'a TlsContext),
    /// Plaintext.
    Plaintext,
}

/// Decides the protection of a connection to an endpoint. `index` is the index of its transport socket in the cluster.
pub(crate) fn decide<'a>(
    cluster: &'a Cluster,
    endpoint: &Endpoint,
    index: usize,
    mtls: Mtls,
) -> Result<TransportDecision<'a>, Error> {
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
            let message =
                format!("`{}` uses the transport socket `{type_url}`, which is not supported", cluster.name);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        TransportSocket::UnsupportedField { field } => {
            let message = format!(
                "the transport socket of `{}` contains {field}, which is not supported: remove this setting from the \
                 DestinationRule or the EnvoyFilter",
                cluster.name
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        _ => {
            let message = format!("`{}` uses a transport socket of an unknown type", cluster.name);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    Ok(TransportDecision { socket: index, proxy_protocol, security })
}

fn tls<'a>(cluster: &Cluster, context: &'a TlsContext, mtls: Mtls) -> Result<TransportSecurity<'a>, Error> {
    let name = &cluster.name;
    match (&context.certificate, &context.roots) {
        (Certificate::Workload, Roots::Mesh) => Ok(TransportSecurity::Mutual(context)),
        (_, Roots::None) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{name}` configures TLS without verification of the peer (insecureSkipVerify), which is not supported"
            ),
        )),
        _ if mtls == Mtls::Required => Err(Error::new(
            ErrorKind::PlaintextRefused,
            format!(
                "`{name}` configures TLS with certificates of a DestinationRule (SIMPLE or MUTUAL), but this program requires \
                 mesh mTLS"
            ),
        )),
        _ => Ok(TransportSecurity::Originated(context)),
    }
}

fn plaintext(cluster: &Cluster, mtls: Mtls) -> Result<TransportSecurity<'static>, Error> {
    match mtls {
        Mtls::AsConfigured => Ok(TransportSecurity::Plaintext),
        Mtls::Required => Err(Error::with_possible_causes(
            ErrorKind::PlaintextRefused,
            format!(
                "the control plane configures plaintext for `{}`, but this program requires mTLS",
                cluster.name
            ),
            None,
            &[
                "the endpoint has no sidecar, or no label `security.istio.io/tlsMode: istio`",
                "the endpoints of the ServiceEntry have no serviceAccount",
                "a PeerAuthentication with mode DISABLE applies to the port of the endpoint",
                "the service is outside the mesh",
            ],
        )),
    }
}

/// Decides for a cluster without a transport socket: a DestinationRule DISABLE, a service outside the mesh, or a
/// DestinationRule with `credentialName`. With `credentialName`, a sidecar does not originate TLS either, but this
/// client refuses the connection, because the DestinationRule does not configure plaintext.
fn absent(cluster: &Cluster, endpoint: &Endpoint, mtls: Mtls) -> Result<TransportSecurity<'static>, Error> {
    let name = &cluster.name;
    if cluster.tls_origination {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{name}` configures TLS (DestinationRule SIMPLE or MUTUAL with a credentialName), but istiod does not send \
                 such certificates to workloads: use certificates in files",
            ),
        ));
    }
    let takes_mtls = endpoint.transport_match.get("tlsMode").is_some_and(|mode| mode != "disabled");
    match (takes_mtls || endpoint.is_gateway(), cluster.external) {
        (false, _) => plaintext(cluster, mtls),
        (true, true) => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "`{name}` is MESH_EXTERNAL, but one of its endpoints is behind a gateway, and gateways do not forward \
                 services outside the mesh: set location MESH_INTERNAL, or remove the network of the endpoint",
            ),
        )),
        (true, false) => Err(Error::with_possible_causes(
            ErrorKind::PlaintextRefused,
            format!(
                "the control plane sends no transport socket for `{name}`, but an endpoint that requires mesh mTLS"
            ),
            None,
            &[
                "automatic mTLS is disabled in this mesh: add a DestinationRule with TLS mode ISTIO_MUTUAL",
                "the service is headless, and only some of its pods have a sidecar",
            ],
        )),
    }
}

#[cfg(test)]
mod tests;
