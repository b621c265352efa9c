//! Access to the sources of nsswitch.conf other than files and DNS, through `getaddrinfo`.

use std::{fs, net::IpAddr};

use tokio::sync::Semaphore;

use super::{Servers, Upstream};

/// Calls `getaddrinfo`, with a limit on simultaneous calls.
pub(super) struct Nss(Semaphore);

/// The maximum number of simultaneous calls. A call takes as long as its slowest source.
const AT_ONCE: usize = 8;

impl Nss {
    /// Creates the limit on calls; `None` if neither the settings nor nsswitch.conf require `getaddrinfo`.
    pub(super) fn new(upstream: &Upstream) -> Option<Self> {
        let found = || {
            let text = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
            matches!(upstream.servers, Servers::System) && has_other_sources(&text)
        };
        upstream.getaddrinfo.unwrap_or_else(found).then(|| Self(Semaphore::new(AT_ONCE)))
    }

    /// Returns the addresses of a name; empty for an unknown name.
    pub(super) async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let Ok(_permit) = self.0.acquire().await else { return Vec::new() };
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) => {
                tracing::debug!(host, %error, "getaddrinfo found no address");
                Vec::new()
            }
        }
    }
}

/// Whether the `hosts` line of nsswitch.conf(5) lists a source that this crate does not read.
fn has_other_sources(text: &str) -> bool {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let Some(sources) = lines.filter_map(|line| line.strip_prefix("hosts:")).next_back() else {
        return false;
    };
    // Actions, such as `[NOTFOUND=return]`, are in brackets.
    let mut in_brackets = false;
    sources.split_whitespace().any(|word| {
        let source = !in_brackets && !word.starts_with('[');
        in_brackets = (in_brackets || word.starts_with('[')) && !word.ends_with(']');
        source && !matches!(word, "files" | "dns")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn getaddrinfo_is_used_only_for_other_sources() {
        for (text, expected) in [
            ("hosts: files dns\n", false),
            ("passwd: files sss\nhosts:\tfiles dns # mdns\n", false),
            ("hosts: files [ NOTFOUND=return UNAVAIL=continue ] dns\n", false),
            ("", false),
            ("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", true),
            ("hosts: files [!UNAVAIL=return] resolve dns\n", true),
            ("hosts: files dns\nhosts: files sss dns\n", true),
        ] {
            assert_eq!(has_other_sources(text), expected, "{text}");
        }
    }
}
