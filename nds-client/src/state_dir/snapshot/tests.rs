use std::{
    fs,
    io::{self, ErrorKind as IoErrorKind},
    net::Ipv4Addr,
};

use proptest::prelude::*;
use tokio::time::{Instant, sleep};
use xds_proto::{
    any,
    envoy::config::cluster::v3::Cluster as WireCluster,
    istio::networking::nds::v1::{NameTable as WireTable, name_table::NameInfo},
    type_url,
};

use super::*;
use crate::{
    error::ErrorKind,
    health::{Health, SyncState},
    testing::{Connectivity, FORECAST, Istiod, mesh_with_state_dir},
};

const NOW: SystemTime = UNIX_EPOCH;
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn read(file: &[u8], owner: &Owner, now: SystemTime, longest: Duration) -> Result<Snapshot, String> {
    super::read(file, owner, now, longest, NameHasher::default())
}

fn table(names: &[(String, u32)]) -> NameTable {
    let info = |ip: u32| NameInfo {
        ips: vec![Ipv4Addr::from(ip).to_string(), format!("2001:db8::{:x}", ip & 0xffff)],
        registry: if ip.is_multiple_of(2) { "Kubernetes" } else { "External" }.into(),
        shortname: if ip.is_multiple_of(3) { "apart".into() } else { String::new() },
        ..NameInfo::default()
    };
    let table = names.iter().map(|(name, ip)| (name.clone(), info(*ip))).collect();
    NameTable::decode(&WireTable { table }.encode_to_vec()).unwrap()
}

fn us() -> Owner {
    Owner::named("us", Some("cluster.local"))
}

fn file(names: &NameTable, clusters: Option<&Clusters>, now: SystemTime) -> Vec<u8> {
    let mut file = Vec::new();
    write(&us(), now, Content { names, clusters, endpoints: &[] }, |piece| {
        file.extend_from_slice(piece);
        Ok(())
    })
    .unwrap();
    file
}

fn error_of(file: &[u8]) -> String {
    read(file, &us(), NOW + DAY, DAY).unwrap_err()
}

#[test]
fn an_unusable_file_is_an_error_with_the_reason() {
    let good = file(&table(&[("a.example".into(), 1)]), None, NOW);
    assert!(read(&good, &us(), NOW + DAY, DAY).is_ok());
    assert!(read(&good, &us(), NOW + DAY * 3, DAY).unwrap_err().contains("3 days old"));
    assert!(
        read(&good, &Owner::named("them", None), NOW, DAY)
            .unwrap_err()
            .contains("belongs to us; this workload is them")
    );
    let foreign = read(&good, &Owner::named("us", Some("other.example")), NOW, DAY).unwrap_err();
    assert!(foreign.contains("trust domain cluster.local; this workload is in other.example"), "{foreign}");
    assert!(read(&good, &Owner::named("us", None), NOW, DAY).is_ok(), "the trust domain is not known yet");
    assert!(error_of(b"").contains("not a snapshot"));
    assert!(error_of(b"-----BEGIN CERTIFICATE-----").contains("not a snapshot"));
    let mut other = good;
    other[MAGIC.len() - 1] = 9;
    assert_eq!(error_of(&other), "the file has version 9 instead of 1");
    assert!(error_of(&signed(b"")).contains("is missing"));
}

#[test]
fn a_file_from_the_future_has_age_zero() {
    let file = file(&table(&[("a.example".into(), 1)]), None, NOW + DAY);
    assert_eq!(read(&file, &us(), NOW, DAY).unwrap().age, Duration::ZERO);
}

#[test]
fn a_full_disk_is_an_error_at_every_piece() {
    let names: Vec<_> = (0..5000).map(|at| (format!("service-{at}.example"), at)).collect();
    let names = table(&names);
    for room in 0..6 {
        let mut left = room;
        let outcome = write(&us(), NOW, Content { names: &names, clusters: None, endpoints: &[] }, |_| {
            left -= 1;
            if left < 0 { Err(io::Error::from(IoErrorKind::StorageFull)) } else { Ok(()) }
        });
        assert_eq!(outcome.unwrap_err().kind(), IoErrorKind::StorageFull, "{room}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        names in proptest::collection::btree_map("[a-z*]{1,8}(\\.[a-z]{1,8}){0,3}", any::<u32>(), 0..50),
        clusters in proptest::option::of(proptest::collection::btree_set("[a-z]{1,8}", 0..5)),
    ) {
        let names = table(&names.into_iter().collect::<Vec<_>>());
        let mut templates = Templates::default();
        let clusters = clusters.map(|hosts| {
            let wire = |host| WireCluster { name: format!("outbound|80||{host}"), ..WireCluster::default() };
            let read = |host| templates.read(wire(host).encode_to_vec().into()).unwrap().unwrap();
            Clusters::default().changed(hosts.into_iter().map(read).collect(), |_| true)
        });
        let read = read(&file(&names, clusters.as_ref(), NOW), &us(), NOW, DAY).unwrap();
        prop_assert!(names.is_empty() || read.names.after(&names).is_none());
        prop_assert_eq!(format!("{:?}", read.clusters), format!("{clusters:?}"));
    }

    #[test]
    fn a_file_with_a_changed_byte_is_an_error(at in any::<prop::sample::Index>(), change in 1u8..) {
        let mut file = file(&table(&[("a.example".into(), 1)]), Some(&Clusters::default()), NOW);
        let at = at.index(file.len());
        file[at] ^= change;
        prop_assert!(read(&file, &us(), NOW, DAY).is_err());
    }

    #[test]
    fn a_truncated_file_is_an_error(at in any::<prop::sample::Index>()) {
        let file = file(&table(&[("a.example".into(), 1)]), None, NOW);
        prop_assert!(read(&file[..at.index(file.len())], &us(), NOW, DAY).is_err());
    }

    #[test]
    fn any_bytes_with_a_right_checksum_are_a_snapshot_or_a_reason(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = read(&signed(&body), &us(), NOW, DAY);
    }
}

/// Returns a VM that has joined, used a service and ended, and its snapshot file.
async fn before() -> (tempfile::TempDir, Istiod, Config, std::path::PathBuf) {
    let (dir, istiod, config, state) = mesh_with_state_dir();
    let cluster = WireCluster { name: FORECAST.into(), ..WireCluster::default() };
    istiod.set_resource(type_url::CLUSTER, FORECAST, any::pack(type_url::CLUSTER, &cluster));
    let client = istiod.join(config.clone()).await.unwrap();
    client.wait_for_clusters(DAY).await.unwrap();
    client.wait_for_endpoints(FORECAST, DAY).await.unwrap();
    let file = state.join("snapshot");
    let owner = Owner::new(client.state());
    let written = || {
        let read = fs::read(&file).map(|file| read(&file, &owner, istiod.clock().now(), DAY));
        read.is_ok_and(|read| read.is_ok_and(|read| read.clusters.is_some() && !read.endpoints.is_empty()))
    };
    client.persisted(written).await;
    (dir, istiod, config, file)
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_used_while_istiod_is_down() {
    let (_dir, istiod, config, _file) = before().await;
    istiod.set_connectivity(Connectivity::Closed);
    sleep(DAY / 4).await;
    let start = Instant::now();
    let client = istiod.join(config).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "the certificate is also on disk");
    let SyncState::FromDisk { age } = client.health().get().sync else {
        panic!("{:?}", client.health().get())
    };
    assert!(age.abs_diff(DAY / 4) <= HOUR, "{age:?}");
    assert!(client.names().get().get("forecast.weather.svc.cluster.local").is_some());
    assert_eq!(client.wait_for_clusters(Duration::ZERO).await.unwrap().len(), 1);
    client.wait_for_endpoints(FORECAST, Duration::ZERO).await.unwrap();
    let mut health = client.health().clone();
    let reported = health.wait_for(|health| health.stream.is_some()).await.unwrap();
    assert!(matches!(reported.sync, SyncState::FromDisk { .. }));
    istiod.set_connectivity(Connectivity::Open);
    health.wait_for(Health::is_ok).await.unwrap();
    istiod.requested(|request| request.resource_names_subscribe == [FORECAST]).await;
}

#[tokio::test(start_paused = true)]
async fn names_are_restored_although_the_certificate_on_disk_has_expired() {
    let (dir, istiod, config, _file) = before().await;
    istiod.set_connectivity(Connectivity::Closed);
    fs::remove_file(dir.path().join("state/identity.pem")).unwrap();
    let client = istiod.join(config).await.unwrap();
    assert!(client.identity().get().is_none());
    assert_eq!(client.names().get().len(), 1);
    let health = client.health().get();
    assert!(matches!(health.sync, SyncState::FromDisk { .. }) && health.identity.is_some(), "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unusable_snapshot_is_reported_and_replaced() {
    let (_dir, istiod, config, file) = before().await;
    let config = config.with(|config| config.snapshot_age = HOUR);
    let good = fs::read(&file).unwrap();
    let cases: [(&[u8], &str); 4] = [
        (b"nonsense", "not a snapshot"),
        (&good[..40], "checksum"),
        (&[], "not a snapshot"),
        (&good, "h old"),
    ];
    for (content, reason) in cases {
        fs::write(&file, content).unwrap();
        if reason == "h old" {
            sleep(HOUR * 3).await;
        }
        let client = istiod.spawn(config.clone());
        let health = client.health().get();
        let error = health.storage.as_ref().expect(reason);
        assert_eq!((error.kind(), health.sync.clone()), (ErrorKind::Storage, SyncState::Connecting));
        assert!(error.to_string().contains(reason) && error.to_string().contains("snapshot"), "{error}");
        client.ready().await.unwrap();
        client.health().clone().wait_for(Health::is_ok).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_another_workload_is_ignored() {
    let (_dir, istiod, config, _file) = before().await;
    let client = istiod.spawn(Config { network: "elsewhere".into(), ..config.clone() });
    let error = client.health().get().storage.clone().unwrap();
    assert!(error.to_string().contains("elsewhere"), "{error}");
    assert!(client.names().get().is_empty());
    drop(client);
    let client = istiod.spawn(Config { trust_domain: Some("other".into()), ..config.clone() });
    assert!(client.names().get().is_empty(), "another mesh's");
    drop(client);
    let client = istiod.spawn(config.with(|config| config.snapshot_age = Duration::ZERO));
    assert!(client.names().get().is_empty(), "switched off");
    assert!(client.health().get().storage.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_read_only_directory_is_read() {
    let (_dir, istiod, config, _file) = before().await;
    istiod.set_connectivity(Connectivity::Closed);
    let first = istiod.spawn(config.clone());
    let second = istiod.spawn(config);
    assert_eq!(second.names().get().len(), 1);
    assert!(second.health().get().storage.is_some() && first.health().get().storage.is_none());
}
