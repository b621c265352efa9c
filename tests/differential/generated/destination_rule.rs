//! Random destination rules, with every supported field.

use serde_json::{Value, json};

use super::{ALL_NAMESPACES, APPS, NAMESPACES, draw::Draw, object::object};

pub(super) fn destination_rule(draw: &mut Draw, index: u32) -> Value {
    let app = draw.one_of(&APPS);
    let namespace = draw.one_of(&ALL_NAMESPACES);
    let host = match draw.number(0..=5) {
        0 => app.to_owned(),
        1 => format!("*.{}.svc.cluster.local", draw.one_of(&NAMESPACES)),
        2 => draw.one_of(&["api.example", "*.example", "db.example", "*.local"]).to_owned(),
        _ => format!("{app}.{}.svc.cluster.local", draw.one_of(&NAMESPACES)),
    };
    let mut spec = json!({"host": host});
    if draw.percent(70) {
        spec["trafficPolicy"] = policy(draw, true);
    }
    if draw.percent(60) && !host.starts_with('*') {
        let subsets: Vec<_> = draw
            .some_of(&["v1", "v2"], 70)
            .into_iter()
            .map(|version| {
                let mut subset = json!({"name": version, "labels": {"version": version}});
                if draw.percent(30) {
                    subset["trafficPolicy"] = policy(draw, false);
                }
                subset
            })
            .collect();
        spec["subsets"] = json!(subsets);
    }
    if draw.percent(20) {
        spec["exportTo"] = json!(draw.one_of(&[&["."][..], &["*"], &["legacy", "weather"]]));
    } else if draw.percent(10) {
        spec["workloadSelector"] = json!({"matchLabels": {"app": "labelled"}});
    }
    object(draw, "DestinationRule", namespace, &format!("rule-{index}"), spec)
}

fn policy(draw: &mut Draw, with_ports: bool) -> Value {
    let mut policy = json!({});
    if draw.percent(35) {
        policy["tls"] = tls(draw);
    }
    if draw.percent(40) {
        policy["loadBalancer"] = load_balancer(draw);
    }
    if draw.percent(35) {
        policy["outlierDetection"] = outlier_detection(draw);
    }
    if draw.percent(30) {
        policy["connectionPool"] = connection_pool(draw);
    }
    if draw.percent(8) {
        policy["proxyProtocol"] = json!({"version": draw.one_of(&["V1", "V2"])});
    }
    if with_ports && draw.percent(30) {
        let number = draw.one_of(&[80, 443, 3002]);
        let mut of_port = json!({"port": {"number": number}});
        if draw.percent(50) {
            of_port["tls"] = tls(draw);
        }
        if draw.percent(50) {
            of_port["loadBalancer"] = load_balancer(draw);
        }
        if draw.percent(30) {
            of_port["outlierDetection"] = outlier_detection(draw);
        }
        if draw.percent(30) {
            of_port["connectionPool"] = connection_pool(draw);
        }
        if of_port.as_object().is_some_and(|fields| fields.len() > 1) {
            policy["portLevelSettings"] = json!([of_port]);
        }
    }
    if policy == json!({}) {
        policy["loadBalancer"] = json!({"simple": "RANDOM"});
    }
    policy
}

fn tls(draw: &mut Draw) -> Value {
    let mode = draw.one_of(&["DISABLE", "ISTIO_MUTUAL", "SIMPLE", "MUTUAL"]);
    let mut tls = json!({"mode": mode});
    if mode == "MUTUAL" {
        tls["clientCertificate"] = "/etc/own/cert.pem".into();
        tls["privateKey"] = "/etc/own/key.pem".into();
    }
    if matches!(mode, "SIMPLE" | "MUTUAL") {
        match draw.number(0..=3) {
            0 => tls["caCertificates"] = "/etc/own/root.pem".into(),
            1 => tls["insecureSkipVerify"] = true.into(),
            _ => {}
        }
    }
    if mode != "DISABLE" && draw.percent(30) {
        tls["sni"] = "other.example".into();
    }
    if mode != "DISABLE" && draw.percent(30) && tls.get("insecureSkipVerify").is_none() {
        tls["subjectAltNames"] = json!(["spiffe://cluster.local/ns/x/sa/by-rule", "named.example"]);
    }
    tls
}

fn load_balancer(draw: &mut Draw) -> Value {
    let mut balancer = match draw.number(0..=5) {
        0 => json!({"consistentHash": {"httpHeaderName": "x"}}),
        1 => json!({"consistentHash": {"useSourceIp": true, "ringHash": {"minimumRingSize": 64}}}),
        2 => json!({"consistentHash": {"useSourceIp": true, "maglev": {"tableSize": 101}}}),
        _ => {
            json!({"simple": draw.one_of(&["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH", "UNSPECIFIED"])})
        }
    };
    if balancer.get("simple").is_some_and(|simple| simple == "ROUND_ROBIN" || simple == "LEAST_REQUEST")
        && draw.percent(30)
    {
        balancer["warmup"] = json!({"duration": "30s", "minimumPercent": 20, "aggression": 1.5});
    }
    if draw.percent(50) {
        balancer["localityLbSetting"] = match draw.number(0..=4) {
            0 => json!({"enabled": false}),
            1 => {
                json!({"distribute": [{"from": "r1/*", "to": {"r1/*": 70, "r2/*": 30}}, {"from": "r2/z2/*", "to": {"r2/z2/*": 20, "r3/*": 80}}]})
            }
            2 => json!({"failover": [{"from": "r1", "to": "r2"}, {"from": "r2", "to": "r3"}]}),
            3 => {
                json!({"failoverPriority": ["topology.istio.io/network", "topology.kubernetes.io/region", "topology.kubernetes.io/zone"]})
            }
            _ => json!({"failoverPriority": ["app", "version=v2"], "failover": [{"from": "r1", "to": "r3"}]}),
        };
    }
    balancer
}

fn outlier_detection(draw: &mut Draw) -> Value {
    let mut detection = json!({"interval": draw.one_of(&["1s", "1.5s", "1m0.25s"])});
    if draw.percent(50) {
        detection["consecutive5xxErrors"] = draw.number(0..=7).into();
    }
    if draw.percent(30) {
        detection["consecutiveGatewayErrors"] = draw.number(0..=7).into();
    }
    if draw.percent(30) {
        detection["splitExternalLocalOriginErrors"] = true.into();
        detection["consecutiveLocalOriginFailures"] = draw.number(0..=7).into();
    }
    if draw.percent(50) {
        detection["baseEjectionTime"] = "90s".into();
        detection["maxEjectionPercent"] = draw.number(0..=100).into();
    }
    if draw.percent(30) {
        detection["minHealthPercent"] = draw.number(0..=60).into();
    }
    detection
}

fn connection_pool(draw: &mut Draw) -> Value {
    let mut pool = json!({});
    if draw.percent(60) {
        let mut tcp = json!({});
        if draw.percent(50) {
            tcp["connectTimeout"] = draw.one_of(&["30ms", "2s"]).into();
        }
        if draw.percent(50) {
            tcp["maxConnections"] = draw.number(1..=100).into();
        }
        if draw.percent(40) {
            tcp["tcpKeepalive"] = match draw.number(0..=2) {
                0 => json!({}),
                1 => json!({"time": "300s", "interval": "75.5s"}),
                _ => json!({"probes": 3}),
            };
        }
        if draw.percent(30) {
            tcp["idleTimeout"] = "600s".into();
        }
        if draw.percent(20) {
            tcp["maxConnectionDuration"] = "3600s".into();
        }
        pool["tcp"] = tcp;
    }
    if draw.percent(50) {
        let mut http = json!({});
        if draw.percent(40) {
            http["h2UpgradePolicy"] = draw.one_of(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]).into();
        }
        if draw.percent(20) && http.get("h2UpgradePolicy").is_none() {
            http["useClientProtocol"] = true.into();
        }
        for field in draw.some_of(
            &[
                "http1MaxPendingRequests",
                "http2MaxRequests",
                "maxRetries",
                "maxRequestsPerConnection",
                "maxConcurrentStreams",
            ],
            30,
        ) {
            http[field] = draw.number(1..=9).into();
        }
        if draw.percent(20) {
            http["idleTimeout"] = "15s".into();
        }
        pool["http"] = http;
    }
    if pool == json!({}) {
        pool["tcp"] = json!({"maxConnections": 7});
    }
    pool
}
