//! Names and addresses as the resolver of this membership sees them.

use std::net::IpAddr;

use nds_client::{NameTable, NdsClient};

use crate::{Error, ErrorKind, dial::Lookup, route::Names};

/// The resolver's view, at one moment.
pub(crate) struct LiveNames<'a> {
    client: &'a NdsClient,
    table: std::sync::Arc<NameTable>,
}

impl<'a> LiveNames<'a> {
    pub(crate) fn new(client: &'a NdsClient) -> Self {
        Self {
            client,
            table: client.names().get(),
        }
    }
}

impl Names for LiveNames<'_> {
    fn canonical(&self, host: &str) -> Option<String> {
        let domain = self.client.config().dns_domain();
        let namespace = self.client.config().namespace();
        let domain = domain
            .strip_prefix(namespace)
            .map_or(domain, |rest| rest.trim_start_matches('.'));
        let cluster = domain.strip_prefix("svc.").unwrap_or(domain);
        let names = [
            host.to_owned(),
            format!("{host}.{domain}"),
            format!("{host}.{cluster}"),
            format!("{host}.{namespace}.{domain}"),
        ];
        names
            .iter()
            .find_map(|name| self.table.get(name))
            .map(|entry| entry.name().to_owned())
    }

    fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let entry = self.canonical(host).and_then(|name| self.table.get(&name));
        entry.map(|entry| entry.addresses().collect()).unwrap_or_default()
    }

    fn last_resolved(&self, _ip: IpAddr) -> Option<String> {
        None
    }

    fn at(&self, ip: IpAddr) -> Vec<String> {
        let has = |entry: &nds_client::NameEntry<'_>| entry.addresses().any(|address| address == ip);
        self.table
            .iter()
            .filter(has)
            .map(|entry| entry.name().to_owned())
            .collect()
    }
}

/// Upstream DNS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upstream;

impl Lookup for Upstream {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        match tokio::net::lookup_host((host, 0)).await {
            Ok(addresses) => Ok(addresses.map(|address| address.ip()).collect()),
            Err(error) => {
                let message = format!("`{host}` is known neither to the mesh nor to upstream DNS");
                Err(Error::with_source(ErrorKind::UnknownHost, message, error))
            }
        }
    }
}
