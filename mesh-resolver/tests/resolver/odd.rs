//! Configurations and servers that are not as one would wish.

use std::{fs, net::SocketAddr, time::Duration};

use mesh_resolver::{ErrorKind, Lookup, Source, Upstream};
use tokio::net::UdpSocket;

use crate::{
    mesh::{FORECAST, Mesh},
    name_server::{NameServer, Reply, ips},
};

const NAME: &str = "www.example.org";
const SOON: Duration = Duration::from_millis(200);

async fn look_up(upstream: Upstream) -> Result<Lookup, mesh_resolver::Error> {
    Mesh::synced(&[(FORECAST, &["10.1.2.3"])]).resolver(upstream).lookup_ip(NAME).await
}

/// A server without manners: it gets each question and the answer that would be right, and sends what it likes.
async fn rude(
    act: impl AsyncFn(&UdpSocket, Vec<u8>, SocketAddr) + Send + 'static,
) -> (SocketAddr, tokio::task::LocalSet) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let tasks = tokio::task::LocalSet::new();
    tasks.spawn_local(async move {
        let mut room = [0; 4096];
        while let Ok((len, peer)) = socket.recv_from(&mut room).await {
            act(&socket, right(&room[..len]), peer).await;
        }
    });
    (address, tasks)
}

/// The answer with one address of the right family.
fn right(question: &[u8]) -> Vec<u8> {
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

/// RFC 5452 §9.1: id, question, address and port must be those of the question that was asked.
#[tokio::test]
async fn answers_with_a_wrong_id_question_or_sender_are_passed_over_and_the_right_one_counts() {
    let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, tasks) = rude(async move |socket, right, peer| {
        // All of them say something else than the right one.
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
        // A question sent back is no answer either.
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
async fn forged_answers_alone_are_no_answer() {
    let (address, tasks) = rude(async |socket, mut right, peer| {
        right[1] ^= 1;
        let _ = socket.send_to(&right, peer).await;
    })
    .await;
    let upstream = Upstream::servers([address]).with_timeout(SOON).with_attempts(1);
    let error = tasks.run_until(look_up(upstream)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
}

/// RFC 1035 §4.1.4.
#[tokio::test]
async fn an_answer_whose_names_go_round_is_an_error_and_ends() {
    let (address, tasks) = rude(async |socket, right, peer| {
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
async fn a_server_that_fails_once_is_asked_again() {
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

/// A server that says "come over TCP" and does not listen there makes way as one that does not answer.
#[tokio::test]
async fn a_truncated_answer_without_tcp_behind_it_is_an_error_and_not_half_of_the_addresses() {
    let truncate = async |socket: &UdpSocket, mut right: Vec<u8>, peer: SocketAddr| {
        right[2] |= 2;
        let _ = socket.send_to(&right, peer).await;
    };
    let (address, tasks) = rude(truncate).await;
    let error = tasks.run_until(look_up(Upstream::servers([address]))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Upstream, "{}", error.report());
    let good = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.9"]))).await;
    let servers = Upstream::servers([address, good.address()]);
    assert_eq!(tasks.run_until(look_up(servers)).await.unwrap().addresses(), ips(&["192.0.2.9"]));
}

#[tokio::test]
async fn aliases_that_go_round_have_no_address() {
    let server = NameServer::start(|_, _| {
        Reply::Aliases(&[(NAME, "a.example"), ("a.example", NAME), (NAME, "a.example")])
    })
    .await;
    let error = look_up(Upstream::servers([server.address()])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRecords, "{}", error.report());
}

/// As behind Istio's agent: the chain is upstream's to follow, and nobody else's to complete.
#[tokio::test]
async fn an_alias_of_a_mesh_name_that_upstream_does_not_follow_has_no_address() {
    let server = NameServer::start(|_, _| Reply::Aliases(&[(NAME, FORECAST)])).await;
    let error = look_up(Upstream::servers([server.address()])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoRecords, "{}", error.report());
    let server = NameServer::start(|_, _| Reply::Alias(FORECAST, ips(&["192.0.2.1"]))).await;
    let found = look_up(Upstream::servers([server.address()])).await.unwrap();
    assert_eq!((found.addresses(), found.source()), (&ips(&["192.0.2.1"])[..], &Source::Upstream));
    assert_eq!(found.mesh_name(), None, "whoever dials it does not go by the mesh");
}

/// RFC 1035 §3.2.1: for the transaction in progress only. RFC 2308 §5: a denial without SOA is not kept.
#[tokio::test]
async fn what_may_not_be_kept_is_asked_again() {
    for (reply, known) in
        [(Reply::NotKept(ips(&["192.0.2.1", "2001:db8::1"])), true), (Reply::NxDomain, false)]
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

/// resolv.conf(5), `ndots`: from none to fifteen.
#[tokio::test]
async fn any_number_of_dots_decides_what_is_asked_first() {
    for (ndots, name, first) in [
        (0, "db", "db"),
        (1, "db", "db.corp.example"),
        (1, "db.x", "db.x"),
        (15, "a.b.c.d.e.f", "a.b.c.d.e.f.corp.example"),
        (15, "a.b.c.d.e.f.", "a.b.c.d.e.f"),
    ] {
        let server = NameServer::start(|_, _| Reply::Denied).await;
        let upstream = Upstream::servers([server.address()]).with_search(["corp.example", "."]);
        let resolver = Mesh::synced(&[]).resolver(upstream.with_ndots(ndots));
        assert!(resolver.lookup_ip(name).await.is_err());
        assert_eq!(server.asked()[0], first, "{ndots} {name}");
        assert!(!server.asked().contains(&format!("{name}.")), "the root is no search domain");
    }
}

/// hosts(5): comments, tabs, case, several lines for a name, and lines from another system.
#[tokio::test]
async fn a_hosts_file_is_read_whatever_it_looks_like() {
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
        assert_eq!((found.addresses(), found.source()), (&ips(expected)[..], &Source::Hosts), "{name}");
    }
    assert!(resolver.lookup_ip("db2").await.is_err());
}
