//! Tests of the upstream cache and of stale answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use hickory_resolver::proto::rr::RecordType;
use mesh_resolver::{ErrorKind, Lookup, MeshResolver, Source, Upstream};
use tokio::{runtime::Handle, time};

use crate::{
    mesh::Mesh,
    name_server::{NameServer, Reply, ips},
};

const NAME: &str = "www.example.org";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A server whose answer for one name changes when `change` is called.
struct ChangingServer {
    server: NameServer,
    changed: Arc<AtomicBool>,
}

impl ChangingServer {
    async fn start(then: Reply) -> Self {
        let changed = Arc::new(AtomicBool::new(false));
        let now = changed.clone();
        let server = NameServer::start(move |_, kind| match (now.load(Relaxed), kind) {
            (true, _) => then.clone(),
            (false, RecordType::A) => Reply::Addresses(ips(&["192.0.2.1"])),
            (false, _) => Reply::Addresses(Vec::new()),
        })
        .await;
        Self { server, changed }
    }

    fn upstream(&self) -> Upstream {
        Upstream::servers([self.server.address()]).with_attempts(1)
    }

    fn change(&self) {
        self.changed.store(true, Relaxed);
    }

    fn asked(&self) -> usize {
        self.server.asked().len()
    }
}

fn resolver(upstream: Upstream) -> MeshResolver {
    Mesh::synced(&[]).resolver(upstream)
}

/// Advances the clock. It is paused only here, because a paused clock advances by itself while the runtime waits for
/// a socket.
async fn later(by: Duration) {
    time::pause();
    time::advance(by).await;
    time::resume();
}

/// Awaits an answer that needs no socket. The paused clock advances to the next timer.
async fn without_waiting(lookup: impl Future<Output = Result<Lookup, mesh_resolver::Error>>) -> Lookup {
    time::pause();
    let found = lookup.await.unwrap();
    time::resume();
    found
}

#[track_caller]
fn stale(found: &Lookup) -> Duration {
    let Source::Stale { age, .. } = found.source() else { panic!("{found:?}") };
    assert_eq!((found.addresses(), found.ttl()), (&ips(&["192.0.2.1"])[..], Duration::from_secs(30)));
    *age
}

#[tokio::test]
async fn an_expired_answer_is_queried_again() {
    let changing = ChangingServer::start(Reply::Addresses(ips(&["192.0.2.2"]))).await;
    let resolver = resolver(changing.upstream());
    resolver.lookup_ip(NAME).await.unwrap();
    changing.change();
    later(MINUTE / 2).await;
    let cached = resolver.lookup_ip(NAME).await.unwrap();
    assert_eq!(cached.addresses(), ips(&["192.0.2.1"]));
    assert!(cached.ttl() <= MINUTE / 2, "{:?}", cached.ttl());
    later(MINUTE / 2).await;
    assert_eq!(resolver.lookup_ip(NAME).await.unwrap().addresses(), ips(&["192.0.2.2"]));
}

/// RFC 2308 §5.
#[tokio::test]
async fn a_negative_answer_is_cached_until_its_ttl_expires() {
    let server = NameServer::start(|_, _| Reply::Denied).await;
    let resolver = resolver(Upstream::servers([server.address()]));
    for asked in [2, 2] {
        assert_eq!(resolver.lookup_ip(NAME).await.unwrap_err().kind(), ErrorKind::NameNotFound);
        assert_eq!(server.asked().len(), asked);
    }
    later(MINUTE).await;
    assert!(resolver.lookup_ip(NAME).await.is_err());
    assert_eq!(server.asked().len(), 4);
}

/// RFC 8767 §4: this applies to all kinds of failures.
#[tokio::test]
async fn a_stale_answer_is_returned_while_no_server_answers() {
    for failure in [Reply::Silence, Reply::ServFail] {
        let changing = ChangingServer::start(failure).await;
        let resolver = resolver(changing.upstream().with_timeout(Duration::from_millis(50)));
        resolver.lookup_ip(NAME).await.unwrap();
        changing.change();
        later(2 * MINUTE).await;
        assert!(stale(&resolver.lookup_ip(NAME).await.unwrap()) >= MINUTE);
        let asked = changing.asked();
        stale(&resolver.lookup_ip(NAME).await.unwrap());
        // The other family is NODATA, and a negative answer is never stale, so it is queried.
        assert!(changing.asked() <= asked + 1, "the servers are not queried again for thirty seconds");
    }
}

/// RFC 8767 §5, client response timer.
#[tokio::test]
async fn a_stale_answer_is_returned_when_servers_are_slow() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"]))).await;
    let resolver = resolver(Upstream::servers([server.address()]).with_timeout(HOUR));
    resolver.lookup_ip(NAME).await.unwrap();
    drop(server);
    let silent = async {
        let start = time::Instant::now();
        let found = resolver.lookup_ip(NAME).await;
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        found
    };
    later(2 * MINUTE).await;
    let found = without_waiting(silent).await;
    assert!(matches!(found.source(), Source::Stale { .. }), "{found:?}");
}

#[tokio::test]
async fn the_age_of_stale_answers_is_limited() {
    for limit in [Duration::ZERO, MINUTE] {
        let changing = ChangingServer::start(Reply::ServFail).await;
        let resolver = resolver(changing.upstream().with_max_stale_age(limit));
        resolver.lookup_ip(NAME).await.unwrap();
        changing.change();
        later(MINUTE + limit).await;
        assert_eq!(resolver.lookup_ip(NAME).await.unwrap_err().kind(), ErrorKind::Upstream);
    }
}

#[tokio::test]
async fn a_negative_answer_replaces_a_stale_answer() {
    let changing = ChangingServer::start(Reply::NxDomain).await;
    let resolver = resolver(changing.upstream());
    resolver.lookup_ip(NAME).await.unwrap();
    changing.change();
    later(2 * MINUTE).await;
    for _ in 0..2 {
        assert_eq!(resolver.lookup_ip(NAME).await.unwrap_err().kind(), ErrorKind::NameNotFound);
    }
}

#[tokio::test]
async fn simultaneous_equal_queries_are_sent_once() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"]))).await;
    let resolver = resolver(Upstream::servers([server.address()]));
    let found = join_all((0..100).map(|_| resolver.lookup_ip(NAME))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(server.asked().len(), 2, "one for each family");
}

#[tokio::test]
async fn cancelling_one_lookup_does_not_cancel_an_equal_one() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"]))).await;
    let resolver = resolver(Upstream::servers([server.address()]));
    let mut cancelled = Box::pin(resolver.lookup_ip(NAME));
    assert!(futures_util::poll!(&mut cancelled).is_pending());
    let mut waiting = Box::pin(resolver.lookup_ip(NAME));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(cancelled);
    assert!(waiting.await.is_ok());
}

/// The query that refreshes the cache uses a TCP connection, which ends with its task.
#[tokio::test]
async fn no_task_outlives_the_last_handle() {
    let silent = Arc::new(AtomicBool::new(false));
    let is_silent = silent.clone();
    let server = NameServer::start(move |_, _| match is_silent.load(Relaxed) {
        false => Reply::TcpOnly(ips(&["192.0.2.1", "2001:db8::1"])),
        true => Reply::TcpSilence,
    })
    .await;
    let tasks = Handle::current().metrics();
    let resolver = resolver(Upstream::servers([server.address()]).with_attempts(1).with_timeout(HOUR));
    resolver.lookup_ip(NAME).await.unwrap();
    server.has_seen(|seen| (seen.connections, seen.open) == (2, 0)).await;
    let before = tasks.num_alive_tasks();
    silent.store(true, Relaxed);
    later(2 * MINUTE).await;
    let mut lookup = Box::pin(resolver.lookup_ip(NAME));
    tokio::select! {
        _ = &mut lookup => panic!("the servers are silent"),
        () = server.has_seen(|seen| seen.open == 2) => {}
    }
    assert!(tasks.num_alive_tasks() > before, "the queries that refresh the cache");
    drop(lookup);
    drop(resolver);
    server.has_seen(|seen| seen.open == 0).await;
}
