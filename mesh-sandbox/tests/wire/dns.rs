//! The DNS server outside the mesh.

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use mesh_sandbox::Sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::mesh::{Folder, tour};

fn question(name: &str) -> Vec<u8> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    query.to_vec().unwrap()
}

async fn udp(sandbox: &Sandbox, name: &str) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question(name), sandbox.upstream_dns()).await.unwrap();
    let mut buffer = [0; 4096];
    let count = socket.recv(&mut buffer).await.unwrap();
    Message::from_vec(&buffer[..count]).unwrap()
}

async fn tcp(sandbox: &Sandbox, name: &str) -> Message {
    let mut stream = TcpStream::connect(sandbox.upstream_dns()).await.unwrap();
    let query = question(name);
    stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
    stream.write_all(&query).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

#[tokio::test]
async fn upstream_answers_its_hosts_but_no_mesh_name_and_counts_queries() {
    let sandbox = tour().await;
    assert_eq!(udp(&sandbox, "intranet.example.com.").await.answers.len(), 1);
    assert_eq!(tcp(&sandbox, "intranet.example.com.").await.answers.len(), 1);
    let unknown = udp(&sandbox, "forecast.weather.svc.cluster.local.").await;
    assert_eq!(unknown.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(sandbox.upstream_queries("intranet.example.com"), 2);
    assert_eq!(sandbox.upstream_queries("forecast.weather.svc.cluster.local"), 1);
    assert_eq!(sandbox.upstream_queries("nobody.example"), 0);
}

#[tokio::test]
async fn a_long_answer_is_truncated_over_udp_and_complete_over_tcp() {
    let folder = Folder::tour();
    let lines = (0..60).map(|index| format!("10.0.0.{index} giant.example\n"));
    std::fs::write(folder.path().join("upstream.hosts"), lines.collect::<String>()).unwrap();
    let sandbox = folder.start().await;
    assert!(udp(&sandbox, "giant.example.").await.metadata.truncation);
    assert_eq!(tcp(&sandbox, "giant.example.").await.answers.len(), 60);
}

#[tokio::test]
async fn upstream_hosts_are_reloaded() {
    let folder = Folder::tour();
    let sandbox = folder.start().await;
    std::fs::write(folder.path().join("upstream.hosts"), "192.0.2.99 new.example\n").unwrap();
    sandbox.events().wait(|event| matches!(event, mesh_sandbox::Event::Reloaded { .. }).then_some(())).await;
    assert_eq!(udp(&sandbox, "new.example.").await.answers.len(), 1);
}
