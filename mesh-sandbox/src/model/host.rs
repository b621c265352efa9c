//! Host names that may start with a wildcard (istio `pkg/config/host/name.go`).

/// Returns whether `pattern` matches every name that `host` matches.
pub(crate) fn is_subset(host: &str, pattern: &str) -> bool {
    match (host.strip_prefix('*'), pattern.strip_prefix('*')) {
        (_, None) => host == pattern,
        (Some(host), Some(pattern)) => host.ends_with(pattern),
        (None, Some(pattern)) => host.ends_with(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::is_subset;

    #[test]
    fn a_wildcard_matches_the_names_below_it() {
        assert!(is_subset("forecast.weather.svc.cluster.local", "*.local"));
        assert!(is_subset("ledger.payments.example", "ledger.payments.example"));
        assert!(is_subset("*.payments.example", "*.example"));
        assert!(is_subset("anything", "*"));
        assert!(!is_subset("mymongodb.somedomain", "*.local"));
        assert!(!is_subset("*.example", "*.payments.example"));
        assert!(!is_subset("*.example", "a.example"));
    }
}
