use mesh_resolver::SearchScope;

use super::*;
use crate::testing::{auto_mtls, clusters};

/// A name table. A name without a dot is the short name of the first name that starts with it.
#[derive(Default)]
struct Table {
    names: Vec<(&'static str, &'static str)>,
    last: Option<(&'static str, &'static str)>,
}

impl MeshNames for Table {
    fn canonical(&self, host: &str) -> Option<String> {
        let short = format!("{host}.");
        let found = self.names.iter().find(|(name, _)| *name == host || name.starts_with(&short));
        found.map(|(name, _)| (*name).to_owned())
    }

    fn service_names(&self, host: &str) -> Vec<String> {
        SearchScope::new("vms", "svc.cluster.local").service_names(host).collect()
    }

    fn addresses(&self, _host: &str) -> Vec<IpAddr> {
        Vec::new()
    }

    fn last_resolved(&self, ip: IpAddr) -> Option<String> {
        self.last.filter(|(address, _)| *address == ip.to_string()).map(|(_, name)| name.to_owned())
    }

    fn at(&self, ip: IpAddr) -> Vec<String> {
        let same = self.names.iter().filter(|(_, address)| *address == ip.to_string());
        same.map(|(name, _)| (*name).to_owned()).collect()
    }
}

const FORECAST: &str = "forecast.weather.svc.cluster.local";

fn mesh() -> (Clusters, Table) {
    let names = [
        "outbound|3002||forecast.weather.svc.cluster.local",
        "outbound|3002|v2|forecast.weather.svc.cluster.local",
        "outbound|8080||forecast.weather.svc.cluster.local",
        "outbound|3002||other.weather.svc.cluster.local",
        "outbound|9||other.weather.svc.cluster.local",
        "outbound|443||*.example.com",
        "outbound|27018||mymongodb.somedomain",
    ];
    let table = Table {
        names: vec![
            (FORECAST, "10.0.0.1"),
            ("other.weather.svc.cluster.local", "10.0.0.1"),
            ("mysql-0.mysql.db.svc.cluster.local", "10.0.0.9"),
        ],
        last: None,
    };
    (clusters(names.map(|name| auto_mtls(name, &[]))), table)
}

fn routed(target: &str) -> Result<Option<String>, Error> {
    let (clusters, table) = mesh();
    routed_with(target, &clusters, &table)
}

fn routed_with(target: &str, clusters: &Clusters, table: &Table) -> Result<Option<String>, Error> {
    let cluster = route(&target.parse().unwrap(), clusters, table)?;
    Ok(cluster.map(|cluster| cluster.name.to_string()))
}

#[test]
fn a_short_name_leads_to_the_cluster_of_its_service() {
    let expected = format!("outbound|3002||{FORECAST}");
    for name in ["forecast.weather:3002", "forecast:3002", "forecast.weather.svc.cluster.local:3002"] {
        assert_eq!(routed(name).unwrap().as_deref(), Some(&*expected), "{name}");
    }
}

#[test]
fn a_service_host_outside_the_name_table_is_found() {
    assert_eq!(
        routed("mymongodb.somedomain:27018").unwrap().as_deref(),
        Some("outbound|27018||mymongodb.somedomain")
    );
}

#[test]
fn a_wildcard_host_covers_the_names_under_it_but_not_itself() {
    let expected = Some("outbound|443||*.example.com");
    assert_eq!(routed("a.example.com:443").unwrap().as_deref(), expected);
    assert_eq!(routed("b.a.example.com:443").unwrap().as_deref(), expected);
    assert_eq!(routed("example.com:443").unwrap(), None);
}

#[test]
fn a_subset_has_its_own_cluster_and_the_error_for_an_unknown_one_lists_the_known_ones() {
    let (clusters, table) = mesh();
    let target = Target::new("forecast", 3002).unwrap();
    let cluster = route(&target.clone().with_subset("v2"), &clusters, &table).unwrap().expect("a service");
    assert_eq!(cluster.name.subset, "v2");
    let error = route(&target.with_subset("v3"), &clusters, &table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownSubset);
    assert!(error.to_string().contains("known subsets: `v2`"), "{error}");
}

#[test]
fn the_error_for_an_unknown_port_lists_the_known_ones() {
    let error = routed("forecast.weather:80").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownPort);
    let text = error.to_string();
    assert!(text.contains(FORECAST) && text.contains("3002, 8080") && text.contains("80"), "{text}");
}

#[test]
fn a_name_in_neither_the_name_table_nor_the_clusters_is_outside_the_mesh() {
    assert_eq!(routed("www.example.org:80").unwrap(), None);
    assert_eq!(routed("192.0.2.1:80").unwrap(), None);
}

#[test]
fn a_name_in_the_name_table_without_a_cluster_is_an_error() {
    let error = routed("mysql-0.mysql.db.svc.cluster.local:3306").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownHost);
    assert!(error.possible_causes().iter().any(|cause| cause.contains("headless")), "{error}");
}

#[test]
fn an_address_and_port_of_one_service_selects_its_cluster() {
    assert_eq!(routed("10.0.0.1:9").unwrap().as_deref(), Some("outbound|9||other.weather.svc.cluster.local"));
    assert_eq!(routed("10.0.0.1:8080").unwrap(), Some(format!("outbound|8080||{FORECAST}")));
}

#[test]
fn the_error_for_an_ambiguous_address_lists_all_services() {
    let error = routed("10.0.0.1:3002").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    let text = error.to_string();
    assert!(text.contains(FORECAST) && text.contains("other.weather.svc.cluster.local"), "{text}");
}

#[test]
fn the_most_recently_resolved_name_decides_for_an_ambiguous_address() {
    let (clusters, mut table) = mesh();
    table.last = Some(("10.0.0.1", "other.weather.svc.cluster.local"));
    assert_eq!(
        routed_with("10.0.0.1:3002", &clusters, &table).unwrap().as_deref(),
        Some("outbound|3002||other.weather.svc.cluster.local")
    );
    // The most recently resolved service does not have this port, another service does.
    assert_eq!(
        routed_with("10.0.0.1:8080", &clusters, &table).unwrap(),
        Some(format!("outbound|8080||{FORECAST}"))
    );
}

#[test]
fn an_address_with_a_port_of_no_service_is_an_error() {
    let error = routed("10.0.0.1:81").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownPort);
}

/// A tenant of the mesh may create a ServiceEntry with any host.
#[test]
fn a_service_entry_with_the_short_name_of_a_service_is_not_selected() {
    let (_, mut table) = mesh();
    let service_entries = [
        "outbound|3002||forecast.weather",
        "outbound|3002||forecast.weather.svc",
        "outbound|3306||mysql-0.mysql.db",
        "outbound|3306||ledger.accounts",
    ];
    let of =
        |services: &[&str]| clusters(service_entries.iter().chain(services).map(|name| auto_mtls(name, &[])));
    let forecast = "outbound|3002||forecast.weather.svc.cluster.local";
    for listed in [true, false] {
        for name in ["forecast.weather:3002", "forecast.weather.svc:3002"] {
            let routed = routed_with(name, &of(&[forecast]), &table).unwrap();
            assert_eq!(routed.as_deref(), Some(forecast), "{name}, in the name table: {listed}");
        }
        table.names.retain(|(name, _)| *name != FORECAST);
    }
    // The name table lists the single pod, which has no cluster.
    let error = routed_with("mysql-0.mysql.db:3306", &of(&[]), &table).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownHost);
    // No service has this short name.
    let routed = routed_with("ledger.accounts:3306", &of(&[forecast]), &table).unwrap();
    assert_eq!(routed.as_deref(), Some("outbound|3306||ledger.accounts"));
}
