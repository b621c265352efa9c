//! Checks that lookups leave file descriptors to the rest of the process, and that missing descriptors are not blamed
//! on the DNS servers. The tests lower the limit of this process and run one after the other.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::{collections::BTreeSet, fs::File, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use mesh_resolver::{ErrorKind, MeshResolver, SearchScope, Upstream};
use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::Watch,
};
use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::UdpSocket;

/// The limit of open files during a test.
const LIMIT: u64 = 96;

static ONE_TEST: Mutex<()> = Mutex::new(());

/// Runs a test with a low limit of open files, while no other test runs.
fn with_low_limit(test: impl Future<Output = ()>) {
    let _guard = ONE_TEST.lock();
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), ..getrlimit(Resource::Nofile) }).unwrap();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn resolver(server: SocketAddr) -> MeshResolver {
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let scope = SearchScope::new("vms", "svc.cluster.local");
    let upstream = Upstream::servers([server]).with_timeout(Duration::from_millis(200)).with_attempts(1);
    MeshResolver::builder(Watch::constant(NameTable::default()), Watch::constant(health), scope)
        .with_upstream(upstream.without_hosts_file())
        .build()
        .unwrap()
}

#[test]
fn lookups_during_a_dns_outage_leave_descriptors_to_the_process() {
    with_low_limit(async {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver(silent.local_addr().unwrap());
        let lookups = (0..200).map(|number| {
            let resolver = resolver.clone();
            tokio::spawn(async move {
                resolver.lookup_ip(&format!("n{number}.www.example.org")).await.unwrap_err()
            })
        });
        let lookups: Vec<_> = lookups.collect();
        let mut packet = [0; 512];
        // The lookups have sent their first queries, and the server is silent.
        silent.recv(&mut packet).await.unwrap();
        let files: Vec<_> = (0..LIMIT / 2).map(|_| File::open("/dev/null")).collect();
        assert!(files.iter().all(Result::is_ok), "{:?}", files.iter().find(|file| file.is_err()));
        drop(files);
        let errors = join_all(lookups).await.into_iter().map(|error| error.unwrap());
        let kinds: BTreeSet<_> = errors.map(|error| error.kind().as_label()).collect();
        assert_eq!(kinds, BTreeSet::from(["local_resource", "timeout"]));
    });
}

#[test]
fn a_missing_descriptor_is_a_local_error_and_does_not_delay_the_next_query() {
    with_low_limit(async {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver(server.local_addr().unwrap());
        let files: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        assert!(!files.is_empty());
        let error = resolver.lookup_ip("www.example.org").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LocalResource, "{}", error.report());
        assert!(error.report().contains("RLIMIT_NOFILE"), "{}", error.report());
        assert!(server.try_recv(&mut [0; 512]).is_err(), "the server was not queried");
        drop(files);
        let again = tokio::spawn({
            let resolver = resolver.clone();
            async move { resolver.lookup_ip("www.example.org").await }
        });
        server.recv(&mut [0; 512]).await.unwrap();
        assert_eq!(again.await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    });
}
