//! What is kept of upstream's answers, and what is given when no server answers.

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

/// A server that knows one name for a minute, until it is told to do something else.
struct Moody {
    server: NameServer,
    changed: Arc<AtomicBool>,
}

impl Moody {
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

/// Moves the clock, which stands still otherwise only while nothing happens on a socket.
async fn later(by: Duration) {
    time::pause();
    time::advance(by).await;
    time::resume();
}

/// An answer for which no socket is needed: the clock runs ahead to whatever is waited for.
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
async fn an_answer_is_asked_for_again_when_its_time_is_over() {
    let moody = Moody::start(Reply::Addresses(ips(&["192.0.2.2"]))).await;
    let resolver = resolver(moody.upstream());
    resolver.lookup_ip(NAME).await.unwrap();
    moody.change();
    later(MINUTE / 2).await;
    let kept = resolver.lookup_ip(NAME).await.unwrap();
    assert_eq!(kept.addresses(), ips(&["192.0.2.1"]));
    assert!(kept.ttl() <= MINUTE / 2, "{:?}", kept.ttl());
    later(MINUTE / 2).await;
    assert_eq!(resolver.lookup_ip(NAME).await.unwrap().addresses(), ips(&["192.0.2.2"]));
}

/// RFC 2308 §5.
#[tokio::test]
async fn a_denial_is_kept_for_as_long_as_it_says() {
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

/// RFC 8767 §4: failures of all kinds.
#[tokio::test]
async fn the_last_answer_is_given_where_no_server_answers_and_says_so() {
    for failure in [Reply::Silence, Reply::ServFail] {
        let moody = Moody::start(failure).await;
        let resolver = resolver(moody.upstream().with_timeout(Duration::from_millis(50)));
        resolver.lookup_ip(NAME).await.unwrap();
        moody.change();
        later(2 * MINUTE).await;
        assert!(stale(&resolver.lookup_ip(NAME).await.unwrap()) >= MINUTE);
        let asked = moody.asked();
        stale(&resolver.lookup_ip(NAME).await.unwrap());
        // The other family had no address, and a denial is never given after its time: it is asked for.
        assert!(moody.asked() <= asked + 1, "the servers are left alone for thirty seconds");
    }
}

/// RFC 8767 §5, client response timer.
#[tokio::test]
async fn servers_that_take_long_are_not_waited_for_where_there_is_an_answer() {
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
async fn there_is_a_limit_to_the_age_of_an_answer() {
    for limit in [Duration::ZERO, MINUTE] {
        let moody = Moody::start(Reply::ServFail).await;
        let resolver = resolver(moody.upstream().with_stale_answers(limit));
        resolver.lookup_ip(NAME).await.unwrap();
        moody.change();
        later(MINUTE + limit).await;
        assert_eq!(resolver.lookup_ip(NAME).await.unwrap_err().kind(), ErrorKind::Upstream);
    }
}

#[tokio::test]
async fn a_denial_takes_the_place_of_an_answer_that_is_out_of_date() {
    let moody = Moody::start(Reply::NxDomain).await;
    let resolver = resolver(moody.upstream());
    resolver.lookup_ip(NAME).await.unwrap();
    moody.change();
    later(2 * MINUTE).await;
    for _ in 0..2 {
        assert_eq!(resolver.lookup_ip(NAME).await.unwrap_err().kind(), ErrorKind::NameNotFound);
    }
}

#[tokio::test]
async fn equal_questions_at_once_are_one() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"]))).await;
    let resolver = resolver(Upstream::servers([server.address()]));
    let found = join_all((0..100).map(|_| resolver.lookup_ip(NAME))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(server.asked().len(), 2, "one for each family");
}

#[tokio::test]
async fn who_stops_waiting_leaves_the_others_waiting() {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1", "2001:db8::1"]))).await;
    let resolver = resolver(Upstream::servers([server.address()]));
    let mut impatient = Box::pin(resolver.lookup_ip(NAME));
    assert!(futures_util::poll!(&mut impatient).is_pending());
    let mut patient = Box::pin(resolver.lookup_ip(NAME));
    assert!(futures_util::poll!(&mut patient).is_pending());
    drop(impatient);
    assert!(patient.await.is_ok());
}

/// The question that is asked for the next one is on a TCP connection, which ends with its task.
#[tokio::test]
async fn no_task_outlives_the_last_handle() {
    let silent = Arc::new(AtomicBool::new(false));
    let zone = silent.clone();
    let server = NameServer::start(move |_, _| match zone.load(Relaxed) {
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
    assert!(tasks.num_alive_tasks() > before, "the questions that are asked for the next one");
    drop(lookup);
    drop(resolver);
    server.has_seen(|seen| seen.open == 0).await;
}
