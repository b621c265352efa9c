//! Tests with unusual configurations and misbehaving servers.

use std::{fs, net::SocketAddr, time::Duration};

use mesh_resolver::{ErrorKind, Lookup, Source, Upstream};
use tokio::net::UdpSocket;

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

const NAME: &str = "www.example.org";
const SHORT: Duration = Duration::from_millis(200);

async fn look_up(upstream: Upstream) -> Result<Lookup, mesh_resolver::Error> {
    Mesh::synced(&[(FORECAST, &["10.1.2.3"])]).resolver(upstream).lookup_ip(NAME).await
}

/// Starts a misbehaving server. `act` receives the correct answer for each query and sends arbitrary packets.
async fn misbehaving(
    act: impl AsyncFn(&UdpSocket, Vec<u8>, SocketAddr) + Send + 'static,
) -> (SocketAddr, tokio::task::LocalSet) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let tasks = tokio::task::LocalSet::new();
    tasks.spawn_local(async move {
        let mut room = [0; 4096];
        while let Ok((len, peer)) = socket.recv_from(&mut room).await {
            act(&socket, correct_answer(&room[..len]), peer).await;
        }
    });
    (address, tasks)
}

/// Builds an answer with one address of the queried family.
fn correct_answer(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[7] = 1;
    let data: &[u8] = match question[question.len() - 3] {
        28 => &[0, 28, 0, 1, 0, 0, 0, 60, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        _ => &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1],
    };
    answer.extend_from_slice(&[0xc0, 12]);
    answer.extend_from_slice(data);
    answer
}

/// RFC 5452 §9.1: the ID, question, address and port of an answer must match the query.
#[tokio::test]
async fn answers_with_a_wrong_id_question_or_sender_are_ignored() {
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, tasks) = misbehaving(async move |socket, right, peer| {
        // All forged answers contain another address.
        let mut forged = right.clone();
        *forged.last_mut().unwrap() = 66;
        let changed = |at: usize| {
            let mut answer = forged.clone();
            answer[at] ^= 1;
            answer
        };
        let _ = other.send_to(&forged, peer).await;
        for wrong in
            [changed(0), changed(14), changed(2 + 12 + NAME.len() + 1), forged[..11].to_vec(), Vec::new()]
        {
            let _ = socket.send_to(&wrong, peer).await;
        }
        // A query that is sent back is not an answer.
        let mut question = forged.clone();
        question[2] = 0x01;
        let _ = socket.send_to(&question, peer).await;
        let _ = socket.send_to(&right, peer).await;
    })
    .await;
    let found = tasks.run_until(look_up(Upstream::servers([address]))).await.unwrap();
    assert_eq!(found.addresses(), ips(&["192.0.2.1", "2001:db8::1"]));
}

#[tokio::test]
async fn a_query_with_only_forged_answers_times_out() {
    let (address, tasks) = misbehaving(async |socket, mut right, peer| {
        right[1] ^= 1;
        let _ = socket.send_to(&right, peer).await;
    })
    .await;
    let upstream = Upstream::servers([address]).with_timeout(SHORT).with_attempts(1);
    let error = tasks.run_until(look_up(upstream)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
}

/// RFC 1035 §4.1.4.
#[tokio::test]
async fn an_answer_with_a_pointer_loop_is_an_error() {
    let (address, tasks) = misbehaving(async |socket, right, peer| {
        let mut answer = right.clone();
        let owner = 12 + NAME.len() + 2 + 4;
        answer[owner..owner + 2].copy_from_slice(&[0xc0, u8::try_from(owner).unwrap()]);
        let _ = socket.send_to(&answer, peer).await;
    })
    .await;
    let error = tasks.run_until(look_up(Upstream::servers([address]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Upstream, "{}", error.report());
}

#[tokio::test]
async fn a_server_that_fails_once_is_queried_again() {
    let failed = parking_lot::Mutex::new(Kinds::default());
    let server = NameServer::start(move |_, kind| match failed.lock().insert(kind.into()) {
        true => Reply::ServFail,
        false => Reply::Addresses(ips(&["192.0.2.1"])),
    })
    .await;
    assert!(look_up(Upstream::servers([server.address()])).await.is_ok());
    assert_eq!(server.asked().len(), 4, "twice for each family");
}

type Kinds = std::collections::BTreeSet<u16>;

/// A server that truncates its answer but does not listen on TCP counts as unreachable.
#[tokio::test]
async fn a_truncated_answer_without_tcp_is_an_error() {
    let truncate = async |socket: &UdpSocket, mut right: Vec<u8>, peer: SocketAddr| {
        right[2] |= 2;
        let _ = socket.send_to(&right, peer).await;
    };
    let (address, tasks) = misbehaving(truncate).await;
    let error = tasks.run_until(look_up(Upstream::servers([address]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Upstream, "{}", error.report());
    let good = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.9"]))).await;
    let servers = Upstream::servers([address, good.address()]);
    assert_eq!(tasks.run_until(look_up(servers)).await.unwrap().addresses(), ips(&["192.0.2.9"]));
}

#[tokio::test]
async fn a_loop_of_cname_records_has_no_address() {
    let server = NameServer::start(|_, _| {
        Reply::Aliases(&[(NAME, "a.example"), ("a.example", NAME), (NAME, "a.example")])
    })
    .await;
    let error = look_up(Upstream::servers([server.address()])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRecords, "{}", error.report());
}

/// As with Istio's agent, the upstream server must follow the chain of CNAME records.
#[tokio::test]
async fn an_upstream_cname_record_to_a_mesh_name_is_not_followed() {
    let server = NameServer::start(|_, _| Reply::Aliases(&[(NAME, FORECAST)])).await;
    let error = look_up(Upstream::servers([server.address()])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRecords, "{}", error.report());
    let server = NameServer::start(|_, _| Reply::Alias(FORECAST, ips(&["192.0.2.1"]))).await;
    let found = look_up(Upstream::servers([server.address()])).await.unwrap();
    assert_eq!((found.addresses(), found.source()), (&ips(&["192.0.2.1"])[..], &Source::Upstream));
    assert_eq!(found.mesh_name(), None, "the address does not belong to the mesh");
}

/// RFC 1035 §3.2.1: a record with a TTL of zero is not cached. RFC 2308 §5: a negative answer without an SOA record
/// is not cached.
#[tokio::test]
async fn uncacheable_answers_are_queried_again() {
    for (reply, known) in
        [(Reply::Uncacheable(ips(&["192.0.2.1", "2001:db8::1"])), true), (Reply::NxDomain, false)]
    {
        let server = NameServer::start(move |_, _| reply.clone()).await;
        let resolver = Mesh::synced(&[]).resolver(Upstream::servers([server.address()]));
        for asked in [2, 4, 6] {
            let found = resolver.lookup_ip(NAME).await;
            assert_eq!(found.as_ref().is_ok_and(|found| found.ttl().is_zero()), known);
            assert_eq!(server.asked().len(), asked);
        }
    }
}

/// resolv.conf(5), `ndots`: from 0 to 15.
#[tokio::test]
async fn ndots_decides_which_name_is_tried_first() {
    for (ndots, name, first) in [
        (0, "db", "db"),
        (1, "db", "db.corp.example"),
        (1, "db.x", "db.x"),
        (15, "a.b.c.d.e.f", "a.b.c.d.e.f.corp.example"),
        (15, "a.b.c.d.e.f.", "a.b.c.d.e.f"),
    ] {
        let server = NameServer::start(|_, _| Reply::Denied).await;
        let upstream = Upstream::servers([server.address()]).with_search_domains(["corp.example", "."]);
        let resolver = Mesh::synced(&[]).resolver(upstream.with_ndots(ndots));
        assert!(resolver.lookup_ip(name).await.is_err());
        assert_eq!(server.asked()[0], first, "{ndots} {name}");
        assert!(!server.asked().contains(&format!("{name}.")), "the root is not a search domain");
    }
}

/// hosts(5): comments, tabs, case, several lines for one name, and CRLF line ends.
#[tokio::test]
async fn hosts_files_of_all_formats_are_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = "\u{feff}# 192.0.2.9 db\r\n192.0.2.1\tDB.Corp.Example  db # db2\r\n\r\nnonsense db\n2001:db8::1 db\n192.0.2.3 last";
    fs::write(file.path(), text).unwrap();
    let resolver = Mesh::synced(&[]).resolver(Upstream::none().with_hosts_file(file.path()));
    for (name, expected) in [
        ("db", &["192.0.2.1", "2001:db8::1"][..]),
        ("Db.corp.example.", &["192.0.2.1"]),
        ("last", &["192.0.2.3"]),
    ] {
        let found = resolver.lookup_ip(name).await.unwrap();
        assert_eq!((found.addresses(), found.source()), (&ips(expected)[..], &Source::HostsFile), "{name}");
    }
    assert!(resolver.lookup_ip("db2").await.is_err());
}
