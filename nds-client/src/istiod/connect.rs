//! Opens a TLS connection to istiod as a gRPC channel.
//!
//! Each stream opens its own connection and resolves the name of istiod again, like Istio's agent, so that a reconnect
//! can reach another istiod. Attempts to several addresses are staggered.

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{RootCertStore, pki_types::ServerName};
use sidestep_util::happy_eyeballs;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{
    channel::{Connection, Stream, channel},
    tls,
};
use crate::{
    config::ServerAddress,
    error::{Error, ErrorKind},
    identity::credentials::Credentials,
    runtime::Runtime,
};

/// The maximum time of one connection attempt: TCP connection and TLS handshake.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay between the starts of two connection attempts.
const ATTEMPT_DELAY: Duration = Duration::from_secs(1);

/// Opens connections to istiod at one of `servers`.
pub(crate) struct Connector<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) servers: &'a [ServerAddress],
    pub(crate) roots: Arc<RootCertStore>,
    /// The number of consecutive failed connections. Each failure rotates the list of addresses, because an address may
    /// accept connections and never answer.
    pub(crate) failures: u32,
}

struct Target<'a> {
    server: &'a ServerAddress,
    address: SocketAddr,
    name: ServerName<'static>,
}

impl Connector<'_> {
    /// Connects to the first address that succeeds.
    pub(crate) async fn connect(&self, credentials: &Credentials) -> Result<Connection, Error> {
        let tls = tls::connector(self.runtime, self.roots.clone(), credentials)?;
        let attempt = |target| self.attempt(target, &tls, credentials);
        happy_eyeballs::connect(self.targets().await?, ATTEMPT_DELAY, attempt).await.map_err(|errors| {
            // An error that istiod returned is more useful than the error of a failed connection.
            let answered = errors.iter().position(|error| error.kind() != ErrorKind::Unavailable);
            let last = errors.len().saturating_sub(1);
            errors.into_iter().nth(answered.unwrap_or(last)).unwrap_or_else(|| self.no_address())
        })
    }

    async fn attempt(
        &self,
        target: Target<'_>,
        tls: &TlsConnector,
        credentials: &Credentials,
    ) -> Result<Connection, Error> {
        match timeout(ATTEMPT_TIMEOUT, self.handshake(&target, tls, credentials)).await {
            Ok(stream) => {
                channel(stream?, credentials.clone()).await.map_err(|error| target.unavailable(error))
            }
            Err(_) => Err(target.unavailable(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    async fn handshake(
        &self,
        target: &Target<'_>,
        tls: &TlsConnector,
        credentials: &Credentials,
    ) -> Result<Stream, Error> {
        let stream = self.runtime.transport.connect(target.address).await;
        let stream = stream.map_err(|error| target.unavailable(error))?;
        tls.connect(target.name.clone(), stream).await.map_err(|error| {
            tls::handshake_error(&self.runtime.config, credentials, target.address, &target.name, error)
                .unwrap_or_else(|error| target.unavailable(error))
        })
    }

    /// Returns all addresses of all servers in the configured order, rotated by the number of failures.
    async fn targets(&self) -> Result<Vec<Target<'_>>, Error> {
        let (mut targets, mut failed) = (Vec::new(), None);
        for server in self.servers {
            let name = tls::server_name(&self.runtime.config, server)?;
            match self.addresses(server).await {
                Ok(addresses) => {
                    let target = |address| Target { server, address, name: name.clone() };
                    targets.extend(addresses.into_iter().map(target));
                }
                Err(error) => failed = Some(error),
            }
        }
        if let (true, Some(error)) = (targets.is_empty(), failed) {
            return Err(error);
        }
        let first = (self.failures as usize).checked_rem(targets.len()).unwrap_or_default();
        targets.rotate_left(first);
        Ok(targets)
    }

    async fn addresses(&self, server: &ServerAddress) -> Result<Vec<SocketAddr>, Error> {
        let ServerAddress { host, port } = server;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, *port).into()]);
        }
        if let Some(known) = self.runtime.config.hosts.get(&host.to_ascii_lowercase()) {
            return Ok(known.iter().map(|ip| (*ip, *port).into()).collect());
        }
        let resolved = timeout(ATTEMPT_TIMEOUT, self.runtime.transport.resolve(host, *port)).await;
        resolved.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error| {
            let message = format!(
                "the name of istiod, {host}, cannot be resolved: add `<address> {host}` to the file `hosts` of the VM files, or configure the address of the east-west gateway that exposes istiod"
            );
            Error::with_source(ErrorKind::Unavailable, message, error)
        })
    }

    fn no_address(&self) -> Error {
        let names: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "istiod ({}) has no address: check the DNS records or configure an IP address",
                names.join(", ")
            ),
        )
    }
}

impl Target<'_> {
    fn unavailable(&self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        let message = format!(
            "istiod cannot be reached at {} ({}): check that it is running and that this is the address of its TLS port",
            self.server, self.address
        );
        Error::with_source(ErrorKind::Unavailable, message, error)
    }
}
