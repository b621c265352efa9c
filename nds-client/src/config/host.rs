//! Facts about this host.

use std::{fs, net::IpAddr};

/// The name and the addresses of this host, which a configuration uses as defaults.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    pub(super) name: Option<String>,
    pub(super) addresses: Vec<IpAddr>,
}

impl Host {
    pub(super) fn here() -> Self {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let name = name.and_then(|name| name.trim().split('.').next().map(str::to_owned));
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let addresses =
            interfaces.iter().filter(|one| !one.is_loopback() && !one.is_link_local()).map(|one| one.ip());
        Self { name: name.filter(|name| !name.is_empty()), addresses: addresses.collect() }
    }
}
