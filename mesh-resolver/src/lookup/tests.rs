//! The table's part of the cases of Istio's `pkg/dns/client/dns_test.go`, in our words, over its fixture: a proxy in
//! `ns1` whose first search domain is `ns1.svc.cluster.local`. What is not known here goes upstream, which the tests
//! of the resolver check.

mod model;

use prost::Message as _;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

use super::*;

/// Key, addresses, and short name and namespace of a Kubernetes service.
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

fn scope() -> Scope {
    Scope::new("ns1", "ns1.svc.cluster.local").with_search_domain("ns1.svc.cluster.local")
}

/// How a question is answered: key of the entry, way, target of the CNAME record.
fn answered(question: &str) -> Option<(String, Via, Option<String>)> {
    let table = fixture();
    let answer = lookup(&table, &scope(), question)?;
    let alias = answer.alias(question.strip_suffix('.').unwrap_or(question));
    Some((answer.name().to_owned(), answer.via(), alias))
}

#[track_caller]
fn known_as(question: &str, name: &str, via: Via, alias: Option<&str>) {
    let found = answered(question);
    assert_eq!(found, Some((name.to_owned(), via, alias.map(ToOwned::to_owned))), "{question}");
}

const PRODUCTPAGE: &str = "productpage.ns1.svc.cluster.local";
const EXAMPLE: &str = "example.ns2.svc.cluster.local";

#[test]
fn a_name_of_the_table_is_known_in_any_case_and_with_a_trailing_dot() {
    for question in ["www.google.com", "www.google.com.", "WWW.Google.COM."] {
        known_as(question, "www.google.com", Via::Exact, None);
    }
    known_as("productpage.ns1.svc.cluster.local.", PRODUCTPAGE, Via::Exact, None);
}

/// `pkg/dns/client/dns.go:508-537`, `generateAltHosts`.
#[test]
fn a_service_of_the_own_namespace_has_three_short_names() {
    for question in ["productpage.", "productpage.ns1.", "productpage.ns1.svc."] {
        known_as(question, PRODUCTPAGE, Via::Alternate, None);
    }
}

/// `pkg/dns/client/dns.go:508-537`.
#[test]
fn a_service_of_another_namespace_has_two_short_names() {
    known_as("example.ns2.", EXAMPLE, Via::Alternate, None);
    known_as("example.ns2.svc.", EXAMPLE, Via::Alternate, None);
    assert_eq!(answered("example."), None);
}

/// `pkg/dns/client/dns.go:508-537`: one label of the domain, no more.
#[test]
fn half_of_the_clusters_domain_is_not_a_short_name() {
    assert_eq!(answered("productpage.ns1.svc.cluster."), None);
}

/// `pkg/dns/client/dns.go:508-537`: `strings.HasSuffix(hostname, proxyDomain)`.
#[test]
fn a_service_of_another_clusters_domain_has_no_short_names() {
    known_as("details.ns2.svc.cluster.remote.", "details.ns2.svc.cluster.remote", Via::Exact, None);
    assert_eq!(answered("details.ns2."), None);
    assert_eq!(answered("details.ns2.svc."), None);
}

/// The short name of a pod of a headless service is `pod.service` (`pkg/dns/server/name_table.go`).
#[test]
fn a_pod_of_a_headless_service_has_short_names_too() {
    let pod = "mysql-0.mysql.ns1.svc.cluster.local";
    for question in ["mysql-0.mysql", "mysql-0.mysql.ns1", "mysql-0.mysql.ns1.svc"] {
        known_as(question, pod, Via::Alternate, None);
    }
    assert_eq!(answered("mysql-0"), None);
}

/// `pkg/dns/client/dns.go:242-247`.
#[test]
fn an_external_entry_has_no_short_names_whatever_its_fields_say() {
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
fn without_a_proxy_domain_there_are_no_short_names() {
    let table = fixture();
    assert!(lookup(&table, &Scope::new("ns1", ""), "productpage.ns1").is_none());
}

#[test]
fn a_namespace_with_another_domain_still_drops_only_itself() {
    let table = table(&[("a.ns1.services.example", &["1.1.1.1"], Some(("a", "ns1")))]);
    let scope = Scope::new("ns1", "ns1.services.example");
    for question in ["a", "a.ns1", "a.ns1.services"] {
        assert!(lookup(&table, &scope, question).is_some(), "{question}");
    }
}

/// `pkg/dns/client/dns.go:648-667`, `pkg/dns/client/dns.go:573-580,608-617`, `buildDNSAnswers`.
#[test]
fn a_known_name_is_known_with_the_first_search_domain_behind_it_and_answered_with_an_alias() {
    let question = "www.google.com.ns1.svc.cluster.local.";
    known_as(question, "www.google.com", Via::SearchDomain, Some("www.google.com"));
    let question = "Productpage.ns1.ns1.svc.cluster.local.";
    known_as(question, PRODUCTPAGE, Via::SearchDomain, Some("productpage.ns1"));
}

/// `pkg/dns/client/dns.go:648-667`: what already ends in the search domain is not expanded again.
#[test]
fn a_name_that_ends_in_the_search_domain_is_not_known_with_it_behind_once_more() {
    assert_eq!(answered("productpage.ns1.svc.cluster.local.ns1.svc.cluster.local."), None);
    assert_eq!(answered("ns1.svc.cluster.local.ns1.svc.cluster.local."), None);
}

/// `pkg/dns/client/dns.go:648-667`: the expansion is one of the service's own names, so there is no alias.
#[test]
fn a_short_name_completed_to_the_full_one_is_the_full_one() {
    known_as("productpage.ns1.svc.cluster.local.", PRODUCTPAGE, Via::Exact, None);
}

#[test]
fn only_the_first_search_domain_is_expanded() {
    assert_eq!(answered("www.google.com.svc.cluster.local."), None);
    assert_eq!(answered("www.google.com.cluster.local."), None);
}

/// `pkg/dns/client/dns.go:648`, knowingly not replicated: the agent compares text, and does not expand this one.
#[test]
fn a_name_that_ends_in_the_text_of_the_search_domain_but_not_in_its_labels_is_expanded() {
    let table = table(&[("a.foons1.svc.cluster.local", &["1.1.1.1"], None)]);
    let answer = lookup(&table, &scope(), "a.foons1.svc.cluster.local.ns1.svc.cluster.local").unwrap();
    assert_eq!(answer.via(), Via::SearchDomain);
}

/// `pkg/dns/client/dns.go:514`, the same in the suffix that decides about short names.
#[test]
fn a_domain_that_only_ends_in_the_text_of_the_proxy_domain_is_another_domain() {
    let table = table(&[("a.ns1.foosvc.cluster.local", &["1.1.1.1"], Some(("a", "ns1")))]);
    assert!(lookup(&table, &scope(), "a.ns1").is_none());
}

/// Knowingly different: in the agent the expansion of `forecast` hides the service of another namespace.
#[test]
fn a_service_is_not_hidden_by_the_expansion_of_a_short_name() {
    let table = table(&[
        ("forecast.ns1.svc.cluster.local", &["1.1.1.1"], Some(("forecast", "ns1"))),
        ("forecast.weather.svc.cluster.local", &["2.2.2.2"], Some(("forecast", "weather"))),
    ]);
    let scope = Scope::new("ns1", "svc.cluster.local").with_search_domain("weather.svc.cluster.local");
    let answer = lookup(&table, &scope, "forecast.weather.svc.cluster.local").unwrap();
    assert_eq!((answer.name(), answer.via()), ("forecast.weather.svc.cluster.local", Via::Exact));
}

/// `pkg/dns/client/dns.go:550-560`, `lookupHost`.
#[test]
fn a_wildcard_covers_names_several_labels_deep_and_the_most_specific_one_wins() {
    known_as("foo.wildcard.", "*.wildcard", Via::Wildcard, None);
    known_as("a.b.wildcard.", "*.b.wildcard", Via::Wildcard, None);
    known_as("a.c.wildcard.", "*.wildcard", Via::Wildcard, None);
    known_as("x.a.b.wildcard.", "*.b.wildcard", Via::Wildcard, None);
    known_as("foo.svc.mesh.company.net.", "*.svc.mesh.company.net", Via::Wildcard, None);
    known_as("foo.foons.svc.mesh.company.net.", "*.svc.mesh.company.net", Via::Wildcard, None);
}

/// `pkg/dns/client/dns.go:550-560`.
#[test]
fn a_wildcard_does_not_cover_its_own_domain() {
    assert_eq!(answered("wildcard."), None);
    known_as("b.wildcard.", "*.wildcard", Via::Wildcard, None);
}

/// `pkg/dns/client/dns.go:550-560`: the last that is tried is `*..`, which no entry is called.
#[test]
fn a_wildcard_without_a_domain_covers_nothing() {
    let table = table(&[("*", &["1.1.1.1"], None), ("*.", &["1.1.1.2"], None)]);
    for question in ["example.", "www.example.", "a.b.c."] {
        assert!(lookup(&table, &scope(), question).is_none(), "{question}");
    }
}

/// `pkg/dns/client/dns.go:594-605`: the target stays the literal `*.x.`.
#[test]
fn a_wildcard_with_the_search_domain_behind_it_is_an_alias_of_the_literal_wildcard() {
    let question = "foo.wildcard.ns1.svc.cluster.local.";
    known_as(question, "*.wildcard", Via::SearchDomain, Some("*.wildcard"));
    let question = "foo.svc.mesh.company.net.ns1.svc.cluster.local.";
    known_as(question, "*.svc.mesh.company.net", Via::SearchDomain, Some("*.svc.mesh.company.net"));
}

/// `pkg/dns/client/dns.go:312-321,592-620`: no data is not the same as no name.
#[test]
fn a_name_without_a_family_is_known_all_the_same() {
    let table = fixture();
    let find = |name| lookup(&table, &scope(), name).unwrap();
    let (v4, v6) = (find("ipv4.localhost."), find("ipv6.localhost."));
    assert_eq!((v4.ipv4().len(), v4.ipv6().len()), (1, 0));
    assert_eq!((v6.ipv4().len(), v6.ipv6().len()), (0, 1));
    let dual = find("dual.localhost.");
    assert_eq!((dual.ipv4().len(), dual.ipv6().len()), (1, 1));
}

#[test]
fn a_key_with_a_trailing_dot_is_known_like_any_other() {
    known_as("example.localhost.", "example.localhost", Via::Exact, None);
}

#[test]
fn what_nobody_knows_is_not_known() {
    let too_long = "a.".repeat(200);
    for question in ["www.bing.com.", "", ".", "..", "a..wildcard.x", "ns1", "svc", &too_long] {
        assert_eq!(answered(question), None, "{question}");
    }
}
