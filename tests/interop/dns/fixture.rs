//! A mesh whose names cover all rules of the name table.

use std::fmt::Write as _;

use mesh_tests::peers::agent::SIDECAR;

pub(super) const SEARCH: [&str; 3] = ["weather.svc.cluster.local", "svc.cluster.local", "cluster.local"];

/// A host that ends with the text of the search domain, but not with its labels (`pkg/dns/client/dns.go:648`).
pub(super) const TEXTUAL: &str = "a.fooweather.svc.cluster.local";

/// The number of services in each namespace.
const SERVICES: u8 = 20;
const NAMESPACES: [&str; 3] = ["weather", "shop", "svc-like"];

/// Hosts of service entries, with their addresses.
const ENTRIES: &[(&str, &str)] = &[
    ("www.google.example", "1.1.1.1"),
    ("ipv4.localhost.example", "2.2.2.2"),
    ("ipv6.localhost.example", "\"2001:db8::ff00:42:8329\""),
    ("dual.localhost.example", "2.2.2.3, \"2001:db8::ff00:42:832a\""),
    ("three.example", "3.3.3.1, 3.3.3.2, 3.3.3.3"),
    ("'*.wildcard.example'", "10.10.10.10"),
    ("'*.b.wildcard.example'", "11.11.11.11"),
    ("'*.svc.mesh.company.example'", "10.1.2.3, \"2001:db8::5\""),
    ("shop.example.cluster.local", "4.4.4.4"),
    ("api.shop.svc", "5.5.5.5"),
    ("single", "6.6.6.6"),
    (TEXTUAL, "7.7.7.7"),
];

/// The minimum number of names in the table.
pub(super) const NAMES: usize = SERVICES as usize * NAMESPACES.len() + ENTRIES.len() + 1;

/// All ports are 3002, because the `Sidecar` of both proxies imports only this port.
pub(super) fn yaml() -> String {
    let mut yaml = SIDECAR.to_owned();
    for (space, namespace) in NAMESPACES.iter().enumerate() {
        for number in 0..SERVICES {
            let ip = format!("10.{}.0.{}", 20 + space, number + 1);
            let _ = write!(
                yaml,
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: {namespace}}}\n\
                 spec: {{clusterIP: {ip}, clusterIPs: [{ip}], ports: [{{name: http, port: 3002}}]}}\n"
            );
        }
    }
    let many: Vec<_> = (1..=60).map(|last| format!("9.9.9.{last}")).collect();
    let many = ("many.example", &*many.join(", "));
    for (number, (host, addresses)) in ENTRIES.iter().copied().chain([many]).enumerate() {
        let _ = write!(
            yaml,
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
             metadata: {{name: entry-{number}, namespace: shop}}\n\
             spec: {{hosts: [{host}], addresses: [{addresses}], resolution: NONE, location: MESH_EXTERNAL, \
             ports: [{{number: 3002, name: http, protocol: HTTP}}]}}\n"
        );
    }
    yaml
}
