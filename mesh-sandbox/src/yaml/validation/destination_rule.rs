//! The validation of destination rules (istio `validateDestinationRule`, `validateTrafficPolicy`, `validateTLS`).

use std::time::Duration;

use super::{export_to, is_host};
use crate::yaml::destination_rule::{
    ClientTls, ConnectionPool, DestinationRuleSpec, H2Upgrade, LoadBalancer, LocalitySetting,
    OutlierDetection, PortPolicy, TlsMode, TrafficPolicy,
};

/// Returns the first problem of a destination rule, or `None` if the rule is valid.
pub(super) fn problem(spec: &DestinationRuleSpec, namespace: &str) -> Option<String> {
    if spec.host.is_empty() {
        return Some("spec.host is empty".to_owned());
    }
    if spec.workload_selector.is_some() && spec.export_to.iter().any(|target| target != ".") {
        return Some(
            "a rule with a workloadSelector applies to its own namespace, but exportTo contains other values"
                .to_owned(),
        );
    }
    let of_subset = |subset: &crate::yaml::destination_rule::Subset| {
        if !is_host(&subset.name) || subset.name.contains('.') {
            return Some(format!("{:?} is not a valid subset name", subset.name));
        }
        subset.traffic_policy.as_ref().and_then(of_policy)
    };
    let policy = spec.traffic_policy.as_ref().and_then(of_policy);
    policy
        .or_else(|| spec.subsets.iter().find_map(of_subset))
        .or_else(|| export_to(&spec.export_to, namespace))
}

fn of_policy(policy: &TrafficPolicy) -> Option<String> {
    if *policy == TrafficPolicy::default() {
        return Some("trafficPolicy is empty".to_owned());
    }
    let TrafficPolicy { load_balancer, connection_pool, outlier_detection, tls, .. } = policy;
    of_settings(load_balancer.as_ref(), connection_pool.as_ref(), outlier_detection.as_ref(), tls.as_ref())
        .or_else(|| policy.port_level_settings.iter().find_map(of_port))
}

fn of_port(policy: &PortPolicy) -> Option<String> {
    let PortPolicy { port, load_balancer, connection_pool, outlier_detection, tls } = policy;
    let is_empty =
        load_balancer.is_none() && connection_pool.is_none() && outlier_detection.is_none() && tls.is_none();
    if is_empty {
        return Some(format!("portLevelSettings of port {} are empty", port.number));
    }
    of_settings(load_balancer.as_ref(), connection_pool.as_ref(), outlier_detection.as_ref(), tls.as_ref())
}

/// Returns the first problem of the settings that a policy contains for all ports or for one port.
fn of_settings(
    balancer: Option<&LoadBalancer>,
    pool: Option<&ConnectionPool>,
    detection: Option<&OutlierDetection>,
    tls: Option<&ClientTls>,
) -> Option<String> {
    let balancer = balancer.and_then(of_balancer);
    balancer
        .or_else(|| pool.and_then(of_pool))
        .or_else(|| detection.and_then(of_detection))
        .or_else(|| tls.and_then(of_tls))
}

fn of_balancer(balancer: &LoadBalancer) -> Option<String> {
    if balancer.warmup.as_ref().is_some_and(|warmup| warmup.duration.is_none()) {
        return Some("warmup has no duration; add one".to_owned());
    }
    let hash = balancer.consistent_hash.as_ref();
    if hash.is_some_and(|hash| hash.maglev.is_some() && hash.ring_hash.is_some()) {
        return Some("consistentHash has both maglev and ringHash; remove one".to_owned());
    }
    balancer.locality_lb_setting.as_ref().and_then(of_localities)
}

fn of_localities(setting: &LocalitySetting) -> Option<String> {
    let fails_over = !setting.failover.is_empty() || !setting.failover_priority.is_empty();
    if !setting.distribute.is_empty() && fails_over {
        return Some("localityLbSetting has both distribute and failover; remove one".to_owned());
    }
    let shares = setting.distribute.iter().find(|it| it.to.values().sum::<u32>() != 100);
    if let Some(shares) = shares {
        return Some(format!("the shares of distribute from {} do not add up to 100", shares.from));
    }
    setting.failover.iter().find_map(|failover| {
        if failover.from == failover.to {
            return Some(format!("region {} fails over to itself", failover.from));
        }
        let inner = [&failover.from, &failover.to].into_iter().find(|region| region.contains('/'));
        inner.map(|region| format!("failover contains {region}, which is not a region"))
    })
}

fn of_pool(pool: &ConnectionPool) -> Option<String> {
    let Some(http) = &pool.http else {
        return match &pool.tcp {
            None => Some("connectionPool is empty".to_owned()),
            Some(tcp) => duration("connectTimeout", tcp.connect_timeout),
        };
    };
    if http.use_client_protocol && http.h2_upgrade_policy == H2Upgrade::Upgrade {
        return Some("useClientProtocol contradicts h2UpgradePolicy UPGRADE".to_owned());
    }
    let timeout = pool.tcp.as_ref().and_then(|tcp| tcp.connect_timeout);
    duration("connectTimeout", timeout).or_else(|| duration("idleTimeout", http.idle_timeout))
}

fn of_detection(detection: &OutlierDetection) -> Option<String> {
    if detection.max_ejection_percent > 100 || detection.min_health_percent > 100 {
        return Some("a percentage of outlierDetection is above 100".to_owned());
    }
    duration("interval", detection.interval)
        .or_else(|| duration("baseEjectionTime", detection.base_ejection_time))
}

/// Returns a problem if the duration is not a positive number of whole milliseconds.
fn duration(name: &str, value: Option<Duration>) -> Option<String> {
    let value = value?;
    let is_whole = value.subsec_nanos() % 1_000_000 == 0;
    (value < Duration::from_millis(1) || !is_whole)
        .then(|| format!("{name} {value:?} is not a positive number of whole milliseconds"))
}

fn of_tls(tls: &ClientTls) -> Option<String> {
    let has_files =
        [&tls.client_certificate, &tls.private_key, &tls.ca_certificates].iter().any(|it| !it.is_empty());
    let has_names = tls.subject_alt_names.as_ref().is_some_and(|names| !names.is_empty());
    if tls.insecure_skip_verify && (has_names || !tls.ca_certificates.is_empty()) {
        return Some("insecureSkipVerify contradicts subjectAltNames and caCertificates".to_owned());
    }
    if !tls.credential_name.is_empty() {
        let is_own = matches!(tls.mode, TlsMode::Simple | TlsMode::Mutual);
        return (is_own && has_files)
            .then(|| "credentialName and certificate files are both set; remove one".to_owned());
    }
    let is_complete = !tls.client_certificate.is_empty() && !tls.private_key.is_empty();
    (tls.mode == TlsMode::Mutual && !is_complete)
        .then(|| "tls mode MUTUAL requires clientCertificate and privateKey".to_owned())
}
