//! The name table cases of Istio's `pkg/dns/client/dns_test.go`, over the same fixture: a proxy in `ns1` whose first
//! search domain is `ns1.svc.cluster.local`. Unknown names go upstream, which the integration tests cover.

mod model;

use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

use super::*;

/// The key, the addresses, and the short name and namespace of a Kubernetes service.
type Row<'a> = (&'a str, &'a [&'a str], Option<(&'a str, &'a str)>);

fn table(rows: &[Row<'_>]) -> NameTable {
    let info = |(name, ips, service): &Row<'_>| {
        let (shortname, namespace) = service.unwrap_or_default();
        let info = NameInfo {
            ips: ips.iter().map(ToString::to_string).collect(),
            registry: if service.is_some() { "Kubernetes" } else { "External" }.into(),
            shortname: shortname.into(),
            namespace: namespace.into(),
            ..NameInfo::default()
        };
        ((*name).to_owned(), info)
    };
    decode(Wire { table: rows.iter().map(info).collect() })
}

fn decode(wire: Wire) -> NameTable {
    NameTable::decode(&wire.encode_to_vec()).unwrap()
}

fn fixture() -> NameTable {
    table(&[
        ("www.google.com", &["1.1.1.1"], None),
        ("productpage.ns1.svc.cluster.local", &["9.9.9.9"], Some(("productpage", "ns1"))),
        ("example.ns2.svc.cluster.local", &["10.10.10.10"], Some(("example", "ns2"))),
        (
            "details.ns2.svc.cluster.remote",
            &["11.11.11.11", "12.12.12.12", "13.13.13.13", "14.14.14.14"],
            Some(("details", "ns2")),
        ),
        ("mysql-0.mysql.ns1.svc.cluster.local", &["9.9.9.1"], Some(("mysql-0.mysql", "ns1"))),
        ("ipv6.localhost", &["2001:db8::ff00:42:8329"], None),
        ("dual.localhost", &["2.2.2.2", "2001:db8::ff00:42:8329"], None),
        ("ipv4.localhost", &["2.2.2.2"], None),
        ("*.b.wildcard", &["11.11.11.11"], None),
        ("*.wildcard", &["10.10.10.10"], None),
        ("*.svc.mesh.company.net", &["10.1.2.3"], None),
        ("example.localhost.", &["3.3.3.3"], None),
    ])
}

fn scope() -> SearchScope {
    SearchScope::new("ns1", "ns1.svc.cluster.local").with_search_domain("ns1.svc.cluster.local")
}

/// Returns the key of the matched entry, how the name matched, and the target of the CNAME record.
fn answered(question: &str) -> Option<(String, MatchKind, Option<String>)> {
    let table = fixture();
    let answer = lookup(&table, &scope(), question)?;
    let alias = answer.alias(question.strip_suffix('.').unwrap_or(question));
    Some((answer.name().to_owned(), answer.match_kind(), alias))
}

#[track_caller]
fn assert_match(question: &str, name: &str, match_kind: MatchKind, alias: Option<&str>) {
    let found = answered(question);
    assert_eq!(found, Some((name.to_owned(), match_kind, alias.map(ToOwned::to_owned))), "{question}");
}

const PRODUCTPAGE: &str = "productpage.ns1.svc.cluster.local";
const EXAMPLE: &str = "example.ns2.svc.cluster.local";

#[test]
fn a_name_of_the_table_matches_in_any_case_and_with_a_trailing_dot() {
    for question in ["www.google.com", "www.google.com.", "WWW.Google.COM."] {
        assert_match(question, "www.google.com", MatchKind::Exact, None);
    }
    assert_match("productpage.ns1.svc.cluster.local.", PRODUCTPAGE, MatchKind::Exact, None);
}

/// `pkg/dns/client/dns.go:508-537`, `generateAltHosts`.
#[test]
fn a_service_in_the_own_namespace_has_three_short_names() {
    for question in ["productpage.", "productpage.ns1.", "productpage.ns1.svc."] {
        assert_match(question, PRODUCTPAGE, MatchKind::ShortName, None);
    }
}

/// `pkg/dns/client/dns.go:508-537`.
#[test]
fn a_service_in_another_namespace_has_two_short_names() {
    assert_match("example.ns2.", EXAMPLE, MatchKind::ShortName, None);
    assert_match("example.ns2.svc.", EXAMPLE, MatchKind::ShortName, None);
    assert_eq!(answered("example."), None);
}

/// `pkg/dns/client/dns.go:508-537`: short names contain at most one label of the domain.
#[test]
fn a_name_with_part_of_the_cluster_domain_is_not_a_short_name() {
    assert_eq!(answered("productpage.ns1.svc.cluster."), None);
}

/// `pkg/dns/client/dns.go:508-537`: `strings.HasSuffix(hostname, proxyDomain)`.
#[test]
fn a_service_in_another_cluster_domain_has_no_short_names() {
    assert_match("details.ns2.svc.cluster.remote.", "details.ns2.svc.cluster.remote", MatchKind::Exact, None);
    assert_eq!(answered("details.ns2."), None);
    assert_eq!(answered("details.ns2.svc."), None);
}

/// The short name of a pod of a headless service is `pod.service` (`pkg/dns/server/name_table.go`).
#[test]
fn a_pod_of_a_headless_service_has_short_names() {
    let pod = "mysql-0.mysql.ns1.svc.cluster.local";
    for question in ["mysql-0.mysql", "mysql-0.mysql.ns1", "mysql-0.mysql.ns1.svc"] {
        assert_match(question, pod, MatchKind::ShortName, None);
    }
    assert_eq!(answered("mysql-0"), None);
}

/// `pkg/dns/client/dns.go:242-247`.
#[test]
fn an_external_entry_has_no_short_names() {
    let wire = Wire {
        table: [(
            PRODUCTPAGE.to_owned(),
            NameInfo {
                ips: vec!["1.1.1.1".into()],
                registry: "External".into(),
                shortname: "productpage".into(),
                namespace: "ns1".into(),
                ..NameInfo::default()
            },
        )]
        .into(),
    };
    let table = decode(wire);
    assert!(lookup(&table, &scope(), PRODUCTPAGE).is_some());
    assert!(lookup(&table, &scope(), "productpage.ns1").is_none());
}

#[test]
fn an_empty_proxy_domain_disables_short_names() {
    let table = fixture();
    assert!(lookup(&table, &SearchScope::new("ns1", ""), "productpage.ns1").is_none());
}

#[test]
fn only_the_namespace_is_removed_from_a_custom_domain() {
    let table = table(&[("a.ns1.services.example", &["1.1.1.1"], Some(("a", "ns1")))]);
    let scope = SearchScope::new("ns1", "ns1.services.example");
    for question in ["a", "a.ns1", "a.ns1.services"] {
        assert!(lookup(&table, &scope, question).is_some(), "{question}");
    }
}

/// `pkg/dns/client/dns.go:648-667`, `pkg/dns/client/dns.go:573-580,608-617`, `buildDNSAnswers`.
#[test]
fn a_known_name_matches_with_the_first_search_domain_appended_and_has_a_cname_record() {
    let question = "www.google.com.ns1.svc.cluster.local.";
    assert_match(question, "www.google.com", MatchKind::SearchDomain, Some("www.google.com"));
    let question = "Productpage.ns1.ns1.svc.cluster.local.";
    assert_match(question, PRODUCTPAGE, MatchKind::SearchDomain, Some("productpage.ns1"));
}

/// `pkg/dns/client/dns.go:648-667`: a name that already ends in the search domain is not expanded again.
#[test]
fn a_name_in_the_search_domain_does_not_match_with_the_domain_appended_again() {
    assert_eq!(answered("productpage.ns1.svc.cluster.local.ns1.svc.cluster.local."), None);
    assert_eq!(answered("ns1.svc.cluster.local.ns1.svc.cluster.local."), None);
}

/// `pkg/dns/client/dns.go:648-667`: the expansion equals a name of the service, so the answer has no CNAME record.
#[test]
fn a_short_name_completed_to_the_full_name_matches_exactly() {
    assert_match("productpage.ns1.svc.cluster.local.", PRODUCTPAGE, MatchKind::Exact, None);
}

#[test]
fn only_the_first_search_domain_is_expanded() {
    assert_eq!(answered("www.google.com.svc.cluster.local."), None);
    assert_eq!(answered("www.google.com.cluster.local."), None);
}

/// `pkg/dns/client/dns.go:648`. Deliberate difference: the agent compares strings and does not expand this name.
#[test]
fn the_search_domain_is_compared_by_label() {
    let table = table(&[("a.foons1.svc.cluster.local", &["1.1.1.1"], None)]);
    let answer = lookup(&table, &scope(), "a.foons1.svc.cluster.local.ns1.svc.cluster.local").unwrap();
    assert_eq!(answer.match_kind(), MatchKind::SearchDomain);
}

/// `pkg/dns/client/dns.go:514`. The proxy domain is also compared by label.
#[test]
fn the_proxy_domain_is_compared_by_label() {
    let table = table(&[("a.ns1.foosvc.cluster.local", &["1.1.1.1"], Some(("a", "ns1")))]);
    assert!(lookup(&table, &scope(), "a.ns1").is_none());
}

/// Deliberate difference: in the agent, the expansion of `forecast` hides the service in another namespace.
#[test]
fn the_expansion_of_a_short_name_does_not_hide_a_service() {
    let table = table(&[
        ("forecast.ns1.svc.cluster.local", &["1.1.1.1"], Some(("forecast", "ns1"))),
        ("forecast.weather.svc.cluster.local", &["2.2.2.2"], Some(("forecast", "weather"))),
    ]);
    let scope = SearchScope::new("ns1", "svc.cluster.local").with_search_domain("weather.svc.cluster.local");
    let answer = lookup(&table, &scope, "forecast.weather.svc.cluster.local").unwrap();
    assert_eq!(
        (answer.name(), answer.match_kind()),
        ("forecast.weather.svc.cluster.local", MatchKind::Exact)
    );
}

/// `pkg/dns/client/dns.go:550-560`, `lookupHost`.
#[test]
fn a_wildcard_matches_several_labels_and_the_most_specific_one_wins() {
    assert_match("foo.wildcard.", "*.wildcard", MatchKind::Wildcard, None);
    assert_match("a.b.wildcard.", "*.b.wildcard", MatchKind::Wildcard, None);
    assert_match("a.c.wildcard.", "*.wildcard", MatchKind::Wildcard, None);
    assert_match("x.a.b.wildcard.", "*.b.wildcard", MatchKind::Wildcard, None);
    assert_match("foo.svc.mesh.company.net.", "*.svc.mesh.company.net", MatchKind::Wildcard, None);
    assert_match("foo.foons.svc.mesh.company.net.", "*.svc.mesh.company.net", MatchKind::Wildcard, None);
}

/// `pkg/dns/client/dns.go:550-560`.
#[test]
fn a_wildcard_does_not_match_its_own_domain() {
    assert_eq!(answered("wildcard."), None);
    assert_match("b.wildcard.", "*.wildcard", MatchKind::Wildcard, None);
}

/// `pkg/dns/client/dns.go:550-560`: the agent's last candidate is `*..`, which is never a key.
#[test]
fn a_wildcard_without_a_domain_matches_nothing() {
    let table = table(&[("*", &["1.1.1.1"], None), ("*.", &["1.1.1.2"], None)]);
    for question in ["example.", "www.example.", "a.b.c."] {
        assert!(lookup(&table, &scope(), question).is_none(), "{question}");
    }
}

/// `pkg/dns/client/dns.go:594-605`: the CNAME target stays the literal `*.x.`.
#[test]
fn a_wildcard_match_in_the_search_domain_has_a_cname_record_to_the_literal_wildcard() {
    let question = "foo.wildcard.ns1.svc.cluster.local.";
    assert_match(question, "*.wildcard", MatchKind::SearchDomain, Some("*.wildcard"));
    let question = "foo.svc.mesh.company.net.ns1.svc.cluster.local.";
    assert_match(question, "*.svc.mesh.company.net", MatchKind::SearchDomain, Some("*.svc.mesh.company.net"));
}

/// `pkg/dns/client/dns.go:312-321,592-620`: NODATA differs from NXDOMAIN.
#[test]
fn a_name_without_addresses_of_a_family_is_known() {
    let table = fixture();
    let find = |name| lookup(&table, &scope(), name).unwrap();
    let (v4, v6) = (find("ipv4.localhost."), find("ipv6.localhost."));
    assert_eq!((v4.ipv4().len(), v4.ipv6().len()), (1, 0));
    assert_eq!((v6.ipv4().len(), v6.ipv6().len()), (0, 1));
    let dual = find("dual.localhost.");
    assert_eq!((dual.ipv4().len(), dual.ipv6().len()), (1, 1));
}

#[test]
fn a_key_with_a_trailing_dot_matches() {
    assert_match("example.localhost.", "example.localhost", MatchKind::Exact, None);
}

#[test]
fn other_names_are_unknown() {
    let too_long = "a.".repeat(200);
    for question in ["www.bing.com.", "", ".", "..", "a..wildcard.x", "ns1", "svc", &too_long] {
        assert_eq!(answered(question), None, "{question}");
    }
}

/// A table in which ServiceEntries have the short names of a Kubernetes service.
fn clash() -> NameTable {
    table(&[
        ("forecast.weather.svc.cluster.local", &["10.1.2.3"], Some(("forecast", "weather"))),
        ("db.ns1.svc.cluster.local", &["10.1.2.4"], Some(("db", "ns1"))),
        ("forecast.weather", &["240.240.0.1"], None),
        ("forecast.weather.svc", &["240.240.0.2"], None),
        ("db", &["240.240.0.3"], None),
        ("forecast.weather.ns1.svc.cluster.local", &["240.240.0.4"], None),
        ("*.weather", &["240.240.0.5"], None),
        ("api.example", &["240.240.0.6"], None),
    ])
}

/// A tenant of the mesh may create a ServiceEntry with any host.
#[test]
fn a_service_entry_does_not_take_over_a_short_name_of_a_kubernetes_service() {
    let (table, scope) = (clash(), scope());
    for (question, service, shadowed_name) in [
        ("forecast.weather", "forecast.weather.svc.cluster.local", Some("forecast.weather")),
        ("Forecast.Weather.", "forecast.weather.svc.cluster.local", Some("forecast.weather")),
        ("forecast.weather.svc", "forecast.weather.svc.cluster.local", Some("forecast.weather.svc")),
        ("db", "db.ns1.svc.cluster.local", Some("db")),
        // What a DNS client with the search list of a pod asks first.
        (
            "forecast.weather.ns1.svc.cluster.local",
            "forecast.weather.svc.cluster.local",
            Some("forecast.weather.ns1.svc.cluster.local"),
        ),
        ("db.ns1.svc.cluster.local", "db.ns1.svc.cluster.local", None),
        ("other.weather", "*.weather", None),
        ("api.example", "api.example", None),
        ("api.example.ns1.svc.cluster.local", "api.example", None),
    ] {
        assert_eq!(lookup(&table, &scope, question).unwrap().name(), service, "{question}");
        assert_eq!(shadowed(&table, &scope, question).map(|entry| entry.name()), shadowed_name, "{question}");
    }
    assert!(shadowed(&table, &scope, "unknown.example").is_none());
}

#[test]
fn a_removed_name_is_known_under_all_names_by_which_it_was_found() {
    let (scope, before) = (scope(), clash().after(&NameTable::default()).unwrap());
    let table = table(&[("api.example", &["240.240.0.6"], None)]).after(&before).unwrap();
    for name in [
        "forecast.weather",
        "Forecast.Weather.svc.",
        "db",
        "db.ns1",
        "forecast.weather.svc.cluster.local",
        "forecast.weather.ns1.svc.cluster.local",
        "other.weather",
        "api.example",
    ] {
        assert!(was_listed(&table, &scope, name), "{name}");
    }
    for name in ["weather", "other.example", "www.example.org", ""] {
        assert!(!was_listed(&table, &scope, name), "{name}");
    }
}
