//! Objects that Istio's validation rejects, and similar objects that it accepts.

use super::Transcript;
use crate::side::Side;

/// A kind, the spec of an object, and a description of it.
struct Attempt {
    kind: &'static str,
    what: &'static str,
    spec: &'static str,
}

macro_rules! attempts {
    ($($kind:ident { $($what:literal: $spec:literal,)* })*) => {
        &[$($(Attempt { kind: stringify!($kind), what: $what, spec: $spec }),*),*]
    };
}

/// Specs as YAML flow mappings, without the outer braces.
const ATTEMPTS: &[Attempt] = attempts! {
    ServiceEntry {
        "valid": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 2.2.2.2}]",
        "no host": "hosts: [], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS",
        "an invalid host": "hosts: ['a b'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS",
        "every host": "hosts: ['*'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE",
        "no port": "hosts: [a.example], resolution: NONE",
        "port 0": "hosts: [a.example], ports: [{number: 0, name: http, protocol: HTTP}], resolution: DNS",
        "two ports with the same name": "hosts: [a.example], ports: [{number: 80, name: x, protocol: HTTP}, {number: 81, name: x, protocol: HTTP}], resolution: DNS",
        "two ports with the same number": "hosts: [a.example], ports: [{number: 80, name: x, protocol: HTTP}, {number: 80, name: y, protocol: HTTP}], resolution: DNS",
        "a port without a name": "hosts: [a.example], ports: [{number: 80, protocol: HTTP}], resolution: DNS",
        "an invalid protocol": "hosts: [a.example], ports: [{number: 80, name: x, protocol: CARRIER}], resolution: DNS",
        "STATIC without endpoints": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC",
        "STATIC with a name": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: b.example}]",
        "NONE with endpoints": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: NONE, endpoints: [{address: 2.2.2.2}]",
        "DNS with a wildcard": "hosts: ['*.example'], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS",
        "DNS with a range of addresses": "hosts: [a.example], addresses: [10.0.0.0/8], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS",
        "DNS_ROUND_ROBIN with two endpoints": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.example}, {address: c.example}]",
        "an invalid address": "hosts: [a.example], addresses: [b], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS",
        "endpoints and a selector": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 2.2.2.2}], workloadSelector: {labels: {app: a}}",
        "an empty selector": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, workloadSelector: {labels: {}}",
        "an unknown endpoint port": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{address: 2.2.2.2, ports: {other: 80}}]",
        "an endpoint without an address": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC, endpoints: [{network: n}]",
        "several hosts over TCP": "hosts: [a.example, b.example], ports: [{number: 80, name: tcp, protocol: TCP}], resolution: STATIC, endpoints: [{address: 2.2.2.2}]",
        "exported to itself twice": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, exportTo: [., payments]",
        "exported to all and to one": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, exportTo: ['*', weather]",
        "an invalid resolution": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: MAGIC",
        "an unknown field": "hosts: [a.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS, nonsense: 1",
    }
    WorkloadEntry {
        "valid": "address: 2.2.2.2, labels: {app: a}",
        "nothing": "",
        "only a network": "network: n",
        "a name": "address: a.example",
        "an invalid address": "address: 'a b'",
        "port 0": "address: 2.2.2.2, ports: {http: 0}",
        "an invalid label": "address: 2.2.2.2, labels: {'a b': c}",
    }
    PeerAuthentication {
        "valid": "selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}}",
        "nothing": "",
        "ports without a selector": "mtls: {mode: STRICT}, portLevelMtls: {80: {mode: DISABLE}}",
        "port 0": "selector: {matchLabels: {app: a}}, portLevelMtls: {0: {mode: DISABLE}}",
        "no ports": "selector: {matchLabels: {app: a}}, portLevelMtls: {}",
        "an empty selector": "selector: {matchLabels: {}}, mtls: {mode: STRICT}",
        "an invalid mode": "mtls: {mode: MAYBE}",
    }
    DestinationRule {
        "valid": "host: a.example, trafficPolicy: {tls: {mode: SIMPLE}}, subsets: [{name: v1, labels: {version: v1}}]",
        "no host": "host: ''",
        "only a host": "host: a.example",
        "an empty policy": "host: a.example, trafficPolicy: {}",
        "an empty pool": "host: a.example, trafficPolicy: {connectionPool: {}}",
        "an empty port policy": "host: a.example, trafficPolicy: {portLevelSettings: [{port: {number: 80}}]}",
        "a port policy without a port": "host: a.example, trafficPolicy: {portLevelSettings: [{tls: {mode: SIMPLE}}]}",
        "a subset without a name": "host: a.example, subsets: [{labels: {version: v1}}]",
        "an invalid subset name": "host: a.example, subsets: [{name: 'v 1', labels: {version: v1}}]",
        "a subset without labels": "host: a.example, subsets: [{name: v1}]",
        "MUTUAL without a certificate": "host: a.example, trafficPolicy: {tls: {mode: MUTUAL}}",
        "MUTUAL without a key": "host: a.example, trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: /c}}",
        "MUTUAL with a secret and files": "host: a.example, trafficPolicy: {tls: {mode: MUTUAL, credentialName: s, clientCertificate: /c, privateKey: /k}}",
        "SIMPLE with a certificate": "host: a.example, trafficPolicy: {tls: {mode: SIMPLE, clientCertificate: /c, privateKey: /k}}",
        "ISTIO_MUTUAL with a certificate": "host: a.example, trafficPolicy: {tls: {mode: ISTIO_MUTUAL, clientCertificate: /c, privateKey: /k}}",
        "DISABLE with a name": "host: a.example, trafficPolicy: {tls: {mode: DISABLE, sni: b.example}}",
        "names that are not verified": "host: a.example, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [b]}}",
        "two load balancing policies": "host: a.example, trafficPolicy: {loadBalancer: {simple: RANDOM, consistentHash: {httpHeaderName: x}}}",
        "a hash without a key": "host: a.example, trafficPolicy: {loadBalancer: {consistentHash: {}}}",
        "a hash with two keys": "host: a.example, trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x, useSourceIp: true}}}",
        "two hash algorithms": "host: a.example, trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, maglev: {}, ringHash: {}}}}",
        "warm-up with random selection": "host: a.example, trafficPolicy: {loadBalancer: {simple: RANDOM, warmup: {duration: 30s}}}",
        "warm-up without a duration": "host: a.example, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {aggression: 1}}}",
        "shares that do not add up to 100": "host: a.example, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: r1, to: {r1: 50, r2: 40}}]}}}",
        "shares and failover": "host: a.example, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: r1, to: {r1: 100}}], failover: [{from: r1, to: r2}]}}, outlierDetection: {interval: 1s}}",
        "failover to itself": "host: a.example, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r1}]}}, outlierDetection: {interval: 1s}}",
        "failover to a zone": "host: a.example, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2/z1}]}}, outlierDetection: {interval: 1s}}",
        "failover without outlier detection": "host: a.example, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2}]}}}",
        "a percentage above 100": "host: a.example, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}",
        "a health percentage above 100": "host: a.example, trafficPolicy: {outlierDetection: {minHealthPercent: 101}}",
        "an interval of zero": "host: a.example, trafficPolicy: {outlierDetection: {interval: 0s}}",
        "half a millisecond": "host: a.example, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0.0005s}}}",
        "zero connections": "host: a.example, trafficPolicy: {connectionPool: {tcp: {maxConnections: 0}}}",
        "a negative number of connections": "host: a.example, trafficPolicy: {connectionPool: {tcp: {maxConnections: -1}}}",
        "an upgrade of the client protocol": "host: a.example, trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}}",
        "a selector, exported": "host: a.example, trafficPolicy: {tls: {mode: SIMPLE}}, workloadSelector: {matchLabels: {app: a}}, exportTo: ['*']",
        "a selector, exported to itself": "host: a.example, trafficPolicy: {tls: {mode: SIMPLE}}, workloadSelector: {matchLabels: {app: a}}, exportTo: [.]",
        "exported to itself twice": "host: a.example, trafficPolicy: {tls: {mode: SIMPLE}}, exportTo: [., payments]",
    }
    Sidecar {
        "valid": "egress: [{hosts: [./*, weather/a.example]}]",
        "nothing": "",
        "no hosts": "egress: [{hosts: []}]",
        "a host without a namespace": "egress: [{hosts: [a.example]}]",
        "no services and some services": "egress: [{hosts: [~/*, ./*]}]",
        "a service of no namespace": "egress: [{hosts: [~/a.example]}]",
        "two without a port": "egress: [{hosts: [./*]}, {hosts: [weather/*]}]",
        "one without a port before one with a port": "egress: [{hosts: [./*]}, {port: {number: 80, name: http, protocol: HTTP}, hosts: [weather/*]}]",
        "a port without a protocol": "egress: [{port: {number: 80, name: http}, hosts: [./*]}]",
        "an address without a port": "egress: [{bind: 127.0.0.1, hosts: [./*]}]",
        "an invalid capture mode": "egress: [{captureMode: MAGIC, hosts: [./*]}]",
        "an empty selector": "workloadSelector: {labels: {}}, egress: [{hosts: [./*]}]",
    }
    Gateway {
        "valid": "selector: {istio: eastwestgateway}, servers: [{port: {number: 15443, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ['*.local']}]",
        "no servers": "selector: {istio: eastwestgateway}",
        "no hosts": "selector: {istio: eastwestgateway}, servers: [{port: {number: 15443, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: []}]",
        "port 0": "selector: {istio: eastwestgateway}, servers: [{port: {number: 0, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ['*.local']}]",
        "two ports with the same name": "selector: {istio: eastwestgateway}, servers: [{port: {number: 15443, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ['*.local']}, {port: {number: 15444, name: tls, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}, hosts: ['*.local']}]",
    }
};

pub(crate) async fn objects_that_istio_rejects_are_rejected(side: &mut Side) -> Transcript {
    let mut lines = Vec::new();
    for Attempt { kind, what, spec } in ATTEMPTS {
        let group = if *kind == "PeerAuthentication" { "security" } else { "networking" };
        let yaml = format!(
            "apiVersion: {group}.istio.io/v1\nkind: {kind}\nmetadata: {{name: attempt, namespace: payments}}\nspec: {{{spec}}}\n"
        );
        let verdict = match side.try_apply("cluster1", &yaml).await {
            Ok(()) => "taken",
            Err(_) => "refused",
        };
        lines.push(format!("{kind} with {what}: {verdict}"));
    }
    lines
}
