//! An adapter for tonic (feature `tonic`): a gRPC channel over all addresses of a name.
//!
//! ```no_run
//! use mesh_resolver::{MeshResolver, tonic::channel};
//!
//! # async fn example(resolver: MeshResolver) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let uri = "http://ledger.accounts:50051".parse()?;
//! let channel = channel(resolver, uri, |endpoint| endpoint.connect_timeout(Duration::from_secs(1))).await?;
//! // let client = LedgerClient::new(channel);
//! # drop(channel);
//! # Ok(())
//! # }
//! ```
//!
//! The channel dials the resolved addresses directly, in plaintext or with tonic's TLS: see [Raw
//! addresses](crate#raw-addresses). Use it for headless services and other reachable addresses. For mesh mTLS and
//! east-west gateways, use the channel of the mesh connector.

use std::{collections::BTreeSet, future::pending, net::IpAddr, time::Duration};

use nds_client::{resources::name_table::NameTable, watch::Watch};
use sidestep_util::error::ErrorCore;
use tokio::{sync::mpsc::Sender, time::timeout};
use tonic::transport::{Channel, Endpoint, Uri, channel::Change};

use crate::{
    error::{Error, ErrorKind},
    resolver::MeshResolver,
};

/// Creates a channel that distributes calls over all addresses of the host of `uri`.
///
/// `setup` configures each endpoint, for example its timeouts and TLS. Requests carry the authority of `uri` for
/// every address.
///
/// A task updates the addresses: those of a mesh name when the name table changes, those of other names when their
/// TTL expires. While a lookup fails, the last addresses stay in use. The task ends with the channel.
///
/// # Errors
///
/// * [`InvalidName`](ErrorKind::InvalidName): the URI has no host.
/// * The errors of [`MeshResolver::lookup_ip`]: the host has no address now.
///
/// # Cancel safety
///
/// Dropping the future cancels the lookup. No task is started.
pub async fn channel(
    resolver: MeshResolver,
    uri: Uri,
    setup: impl Fn(Endpoint) -> Endpoint + Send + 'static,
) -> Result<Channel, Error> {
    let host = uri.host().map(ToOwned::to_owned);
    let host =
        host.ok_or_else(|| Error::of_setup(ErrorCore::new(ErrorKind::InvalidName, "the URI has no host")))?;
    let (ips, ttl) = addresses(&resolver, &host).await?;
    let (channel, changes) = Channel::balance_channel(CHANGES);
    let mut list = List { uri, setup, changes, ips: BTreeSet::new() };
    list.become_these(ips).await;
    let names = resolver.inner().mesh.names.clone();
    tokio::spawn(list.follow(resolver, names, host, ttl));
    Ok(channel)
}

/// The number of address changes that are buffered for the channel.
const CHANGES: usize = 64;

/// The pause after a failed lookup, and the minimum time between two lookups of a name outside the mesh.
const PAUSE: Duration = Duration::from_secs(5);

async fn addresses(resolver: &MeshResolver, host: &str) -> Result<(BTreeSet<IpAddr>, Duration), Error> {
    let found = resolver.lookup_ip(host).await?;
    Ok((found.addresses().iter().copied().collect(), found.ttl()))
}

struct List<S> {
    uri: Uri,
    setup: S,
    changes: Sender<Change<IpAddr, Endpoint>>,
    ips: BTreeSet<IpAddr>,
}

impl<S: Fn(Endpoint) -> Endpoint> List<S> {
    async fn follow(
        mut self,
        resolver: MeshResolver,
        mut names: Watch<NameTable>,
        host: String,
        mut ttl: Duration,
    ) {
        loop {
            // After the client has shut down, only the TTL triggers lookups.
            let changed = async {
                if !names.changed().await {
                    pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.changes.closed() => return,
                _ = timeout(ttl.max(PAUSE), changed) => {}
            }
            match addresses(&resolver, &host).await {
                Ok((ips, until)) => {
                    self.become_these(ips).await;
                    ttl = until;
                }
                Err(error) => {
                    tracing::debug!(error = %error.report(), "lookup failed: the channel keeps its addresses");
                    ttl = PAUSE;
                }
            }
        }
    }

    /// Sends the added and removed addresses to the channel. Errors are ignored, because they mean that the channel
    /// is dropped.
    async fn become_these(&mut self, ips: BTreeSet<IpAddr>) {
        for ip in ips.difference(&self.ips) {
            let _ = self.changes.send(Change::Insert(*ip, self.endpoint(*ip))).await;
        }
        for ip in self.ips.difference(&ips) {
            let _ = self.changes.send(Change::Remove(*ip)).await;
        }
        self.ips = ips;
    }

    fn endpoint(&self, ip: IpAddr) -> Endpoint {
        let literal = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let authority = match self.uri.port_u16() {
            Some(port) => format!("{literal}:{port}"),
            None => literal,
        };
        let scheme = self.uri.scheme_str().unwrap_or("http");
        let at = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        // An address and a port always form a valid URI.
        let endpoint = Endpoint::from(at.unwrap_or_else(|_| self.uri.clone()));
        (self.setup)(endpoint.origin(self.uri.clone()))
    }
}
