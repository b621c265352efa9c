//! The kind `DestinationRule`. The reader ignores HTTP settings that affect no xDS message of the sandbox, and rejects
//! every other unknown field.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::istio::MatchLabels;
use super::kubernetes::Labels;

#[derive(Debug, Deserialize)]
pub(crate) struct DestinationRule {
    pub(crate) spec: DestinationRuleSpec,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DestinationRuleSpec {
    pub(crate) host: String,
    pub(crate) traffic_policy: Option<TrafficPolicy>,
    #[serde(default)]
    pub(crate) subsets: Vec<Subset>,
    #[serde(default)]
    pub(crate) export_to: Vec<String>,
    pub(crate) workload_selector: Option<MatchLabels>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Subset {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) labels: Labels,
    pub(crate) traffic_policy: Option<TrafficPolicy>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TrafficPolicy {
    pub(crate) load_balancer: Option<LoadBalancer>,
    pub(crate) connection_pool: Option<ConnectionPool>,
    pub(crate) outlier_detection: Option<OutlierDetection>,
    pub(crate) tls: Option<ClientTls>,
    #[serde(default)]
    pub(crate) port_level_settings: Vec<PortPolicy>,
    pub(crate) proxy_protocol: Option<ProxyProtocol>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PortPolicy {
    pub(crate) port: PortNumber,
    pub(crate) load_balancer: Option<LoadBalancer>,
    pub(crate) connection_pool: Option<ConnectionPool>,
    pub(crate) outlier_detection: Option<OutlierDetection>,
    pub(crate) tls: Option<ClientTls>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct PortNumber {
    pub(crate) number: u16,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LoadBalancer {
    #[serde(default)]
    pub(crate) simple: Simple,
    pub(crate) consistent_hash: Option<ConsistentHash>,
    pub(crate) locality_lb_setting: Option<LocalitySetting>,
    pub(crate) warmup: Option<Warmup>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) warmup_duration_secs: Option<Duration>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Warmup {
    #[serde(default, deserialize_with = "duration")]
    pub(crate) duration: Option<Duration>,
    pub(crate) minimum_percent: Option<f64>,
    pub(crate) aggression: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Simple {
    #[default]
    Unspecified,
    LeastConn,
    LeastRequest,
    Passthrough,
    Random,
    RoundRobin,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ConsistentHash {
    pub(crate) maglev: Option<Maglev>,
    pub(crate) ring_hash: Option<RingHash>,
    #[serde(default)]
    pub(crate) minimum_ring_size: u64,
    http_header_name: Option<IgnoredAny>,
    http_cookie: Option<IgnoredAny>,
    http_query_parameter_name: Option<IgnoredAny>,
    use_source_ip: Option<IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Maglev {
    #[serde(default)]
    pub(crate) table_size: u64,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RingHash {
    #[serde(default)]
    pub(crate) minimum_ring_size: u64,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LocalitySetting {
    pub(crate) enabled: Option<bool>,
    #[serde(default)]
    pub(crate) distribute: Vec<Distribute>,
    #[serde(default)]
    pub(crate) failover: Vec<Failover>,
    #[serde(default)]
    pub(crate) failover_priority: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Distribute {
    pub(crate) from: String,
    #[serde(default)]
    pub(crate) to: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failover {
    pub(crate) from: String,
    pub(crate) to: String,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnectionPool {
    pub(crate) tcp: Option<TcpPool>,
    pub(crate) http: Option<HttpPool>,
}

impl ConnectionPool {
    pub(crate) fn tcp(&self) -> TcpPool {
        self.tcp.unwrap_or_default()
    }

    pub(crate) fn http(&self) -> HttpPool {
        self.http.unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TcpPool {
    #[serde(default, deserialize_with = "duration")]
    pub(crate) connect_timeout: Option<Duration>,
    #[serde(default)]
    pub(crate) max_connections: u32,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) max_connection_duration: Option<Duration>,
    pub(crate) tcp_keepalive: Option<Keepalive>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) idle_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keepalive {
    #[serde(default)]
    pub(crate) probes: u32,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) time: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) interval: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HttpPool {
    #[serde(default)]
    pub(crate) h2_upgrade_policy: H2Upgrade,
    #[serde(default)]
    pub(crate) use_client_protocol: bool,
    #[serde(default)]
    pub(crate) http1_max_pending_requests: u32,
    #[serde(default)]
    pub(crate) http2_max_requests: u32,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) idle_timeout: Option<Duration>,
    #[serde(default)]
    pub(crate) max_concurrent_streams: u32,
    #[serde(default)]
    pub(crate) max_requests_per_connection: u32,
    #[serde(default)]
    pub(crate) max_retries: u32,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum H2Upgrade {
    #[default]
    Default,
    DoNotUpgrade,
    Upgrade,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OutlierDetection {
    #[serde(default)]
    pub(crate) min_health_percent: u32,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) base_ejection_time: Option<Duration>,
    #[serde(rename = "consecutive5xxErrors")]
    pub(crate) consecutive_5xx_errors: Option<u32>,
    /// A deprecated field that istiod ignores.
    consecutive_errors: Option<IgnoredAny>,
    pub(crate) consecutive_gateway_errors: Option<u32>,
    pub(crate) consecutive_local_origin_failures: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) interval: Option<Duration>,
    #[serde(default)]
    pub(crate) max_ejection_percent: u32,
    #[serde(default)]
    pub(crate) split_external_local_origin_errors: bool,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ClientTls {
    #[serde(default)]
    pub(crate) mode: TlsMode,
    #[serde(default)]
    pub(crate) sni: String,
    pub(crate) subject_alt_names: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) ca_certificates: String,
    #[serde(default)]
    pub(crate) client_certificate: String,
    #[serde(default)]
    pub(crate) private_key: String,
    #[serde(default)]
    pub(crate) credential_name: String,
    #[serde(default)]
    pub(crate) insecure_skip_verify: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum TlsMode {
    #[default]
    Disable,
    IstioMutual,
    Mutual,
    Simple,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProxyProtocol {
    #[serde(default)]
    pub(crate) version: ProxyProtocolVersion,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) enum ProxyProtocolVersion {
    #[default]
    V1,
    V2,
}

/// Parses a duration in the format of Go: `1.5s`, `250ms`, `1m30s`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text)
        .map(Some)
        .ok_or_else(|| de::Error::custom(format!("{text} is not a duration like 250ms or 1.5s")))
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| it != '.' && !it.is_ascii_digit())?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|it: char| it.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        seconds += number
            * match &rest[digits..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn durations_have_the_format_of_go() {
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("3"), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("3 parsecs"), None);
    }
}
