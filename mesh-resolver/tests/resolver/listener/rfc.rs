//! Tests of RFC rules over sockets. Tests of single packets are in `src/listener/respond/tests.rs`.

use hickory_resolver::proto::op::Edns;

use super::*;
use crate::name_server::{NameServer, Reply, ips};

async fn listener() -> (NameServer, DnsListener) {
    let server = NameServer::start(|_, _| Reply::Addresses(ips(&["192.0.2.1"]))).await;
    let mesh = Mesh::synced(&[(FORECAST, &["10.1.2.3"])]);
    let listener = start(mesh.resolver(Upstream::servers([server.address()])));
    (server, listener)
}

async fn connected(listener: &DnsListener) -> TcpStream {
    TcpStream::connect(listener.addresses()[0]).await.unwrap()
}

/// RFC 7766 §6.2.3: a client that has closed its sending half still receives its responses.
#[tokio::test]
async fn a_client_that_closed_its_sending_half_receives_its_responses() {
    let (_server, listener) = listener().await;
    let mut stream = connected(&listener).await;
    let asked = [FORECAST, "www.example.org."].map(|name| question(name, RecordType::A));
    for asked in &asked {
        write(&mut stream, asked).await;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(addresses(&read(&mut stream).await), ["10.1.2.3"]);
    assert_eq!(addresses(&read(&mut stream).await), ["192.0.2.1"]);
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the connection is closed after the responses");
}

/// RFC 7766 §8: the two bytes of the length may arrive separately.
#[tokio::test]
async fn the_length_of_a_message_may_arrive_in_two_parts() {
    let (_server, listener) = listener().await;
    let mut stream = connected(&listener).await;
    stream.set_nodelay(true).unwrap();
    let bytes = question(FORECAST, RecordType::A).to_vec().unwrap();
    stream.write_all(&[0]).await.unwrap();
    // A later client is answered in between.
    let mut later = connected(&listener).await;
    write(&mut later, &question(FORECAST, RecordType::A)).await;
    read(&mut later).await;
    stream.write_all(&[u8::try_from(bytes.len()).unwrap()]).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(addresses(&read(&mut stream).await), ["10.1.2.3"]);
}

/// Only the malformed message fails, not the connection.
#[tokio::test]
async fn a_malformed_message_does_not_close_the_connection() {
    let (_server, listener) = listener().await;
    let mut stream = connected(&listener).await;
    let mut two_questions = question(FORECAST, RecordType::A);
    two_questions.add_query(two_questions.queries[0].clone());
    write(&mut stream, &two_questions).await;
    let refused = read(&mut stream).await;
    assert_eq!((code(&refused), refused.id), (ResponseCode::FormErr, two_questions.id));
    stream.write_all(&[0, 0]).await.unwrap();
    write(&mut stream, &question(FORECAST, RecordType::A)).await;
    assert_eq!(addresses(&read(&mut stream).await), ["10.1.2.3"], "an empty message gets no response");
}

/// RFC 5936 §2.2.1: only the authoritative server of a zone can transfer it.
#[tokio::test]
async fn a_zone_transfer_is_refused_and_not_forwarded() {
    let (server, listener) = listener().await;
    let mut stream = connected(&listener).await;
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        for name in [FORECAST, "example.org."] {
            let asked = question(name, kind);
            assert_eq!(code(&ask_with(&listener, &asked).await), ResponseCode::Refused);
            write(&mut stream, &asked).await;
            assert_eq!(code(&read(&mut stream).await), ResponseCode::Refused);
        }
    }
    assert!(server.asked().is_empty());
    assert_eq!(listener.stats().refused, 8);
}

/// RFC 8482: upstream DNS decides about ANY queries. Without upstream DNS, the answer for a mesh name is NODATA.
#[tokio::test]
async fn an_any_query_goes_upstream() {
    let (server, listener) = listener().await;
    ask(&listener, FORECAST, RecordType::ANY).await;
    assert_eq!(server.asked(), [FORECAST]);
    let alone = start(Mesh::synced(&[(FORECAST, &["10.1.2.3"])]).resolver(Upstream::none()));
    let answer = ask(&alone, FORECAST, RecordType::ANY).await;
    assert_eq!((code(&answer), answer.answers.len()), (ResponseCode::NoError, 0));
}

/// RFC 6891 §6.1.3, §6.2.3, §7.
#[tokio::test]
async fn a_query_with_edns_gets_a_response_with_edns() {
    let (_server, listener) = listener().await;
    let mut stream = connected(&listener).await;
    for (version, size, expected) in
        [(0, 1232, ResponseCode::NoError), (0, 0, ResponseCode::NoError), (1, 1232, ResponseCode::BADVERS)]
    {
        let mut asked = question(FORECAST, RecordType::A);
        let mut edns = Edns::new();
        edns.set_version(version).set_max_payload(size);
        asked.set_edns(edns);
        write(&mut stream, &asked).await;
        for answer in [ask_with(&listener, &asked).await, read(&mut stream).await] {
            assert_eq!(u16::from(code(&answer)), u16::from(expected));
            let edns = answer.edns.expect("an OPT record");
            assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
        }
    }
}
