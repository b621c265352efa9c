//! What only the system's own lookup knows: the sources of nsswitch.conf beside files and DNS.

use std::{fs, net::IpAddr};

use tokio::sync::Semaphore;

use super::{Servers, Upstream};

/// The system's `getaddrinfo`, a few at once.
pub(super) struct Nss(Semaphore);

/// A call may take as long as its slowest source.
const AT_ONCE: usize = 8;

impl Nss {
    /// `None` where it is not to be asked.
    pub(super) fn new(upstream: &Upstream) -> Option<Self> {
        let found = || {
            let text = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
            matches!(upstream.servers, Servers::System) && has_other_sources(&text)
        };
        upstream.getaddrinfo.unwrap_or_else(found).then(|| Self(Semaphore::new(AT_ONCE)))
    }

    /// Its addresses of a name; none where it knows none.
    pub(super) async fn addresses(&self, host: &str) -> Vec<IpAddr> {
        let Ok(_permit) = self.0.acquire().await else { return Vec::new() };
        match tokio::net::lookup_host((host, 0)).await {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(error) => {
                tracing::debug!(host, %error, "getaddrinfo does not know the name either");
                Vec::new()
            }
        }
    }
}

/// Whether the `hosts` line names a source that is not read here: nsswitch.conf(5).
fn has_other_sources(text: &str) -> bool {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let Some(sources) = lines.filter_map(|line| line.strip_prefix("hosts:")).next_back() else {
        return false;
    };
    // What to do where a source has no answer is in brackets.
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
    fn getaddrinfo_is_asked_only_where_it_may_know_more() {
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
