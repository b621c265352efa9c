//! gRPC over all addresses of a name (feature `tonic`): the endpoint list of a tonic channel, kept current.
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
//! It dials the addresses that the table has, in plaintext or with tonic's own TLS: for headless services and others whose
//! addresses can be reached. Through gateways, and with the mesh's identities, goes the connector's channel.

use std::{collections::BTreeSet, future::pending, net::IpAddr, time::Duration};

use nds_client::{resources::name_table::NameTable, watch::Watch};
use tokio::{sync::mpsc::Sender, time::timeout};
use tonic::transport::{Channel, Endpoint, Uri, channel::Change};

use crate::{
    error::{Error, ErrorKind},
    resolver::MeshResolver,
};

/// A channel whose calls are spread over all addresses of the host of `uri`. `setup` sets each endpoint up: timeouts,
/// TLS; requests name the host itself, whichever address they go to.
///
/// Addresses are added and removed with the table, and those of names outside the mesh when the answer's time is over.
/// Where the name can no longer be resolved, the last addresses stay. That is done by a task which ends with the channel.
///
/// # Errors
///
/// * [`InvalidName`](ErrorKind::InvalidName): the URI has no host.
/// * As [`MeshResolver::lookup_ip`]: the host has no address now.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn channel(
    resolver: MeshResolver,
    uri: Uri,
    setup: impl Fn(Endpoint) -> Endpoint + Send + 'static,
) -> Result<Channel, Error> {
    let host = uri.host().map(ToOwned::to_owned);
    let host = host.ok_or_else(|| Error::new(ErrorKind::InvalidName, "", "a URI without a host"))?;
    let (ips, ttl) = addresses(&resolver, &host).await?;
    let (channel, changes) = Channel::balance_channel(CHANGES);
    let mut list = List { uri, setup, changes, ips: BTreeSet::new() };
    list.become_these(ips).await;
    let names = resolver.inner().mesh.names.clone();
    tokio::spawn(list.follow(resolver, names, host, ttl));
    Ok(channel)
}

/// Changes on their way to the channel.
const CHANGES: usize = 64;

/// How long a name that could not be resolved is left alone, and the least time between two looks at one outside the mesh.
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
            // What is no longer published changes by time alone.
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
                    tracing::debug!(error = %error.report(), "the addresses of a channel stay what they were");
                    ttl = PAUSE;
                }
            }
        }
    }

    /// Tells the channel what has come and what has gone. A channel that is gone needs not be told.
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
        // An address and a port make a URI.
        let endpoint = Endpoint::from(at.unwrap_or_else(|_| self.uri.clone()));
        (self.setup)(endpoint.origin(self.uri.clone()))
    }
}
