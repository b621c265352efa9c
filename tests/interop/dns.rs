//! Compares Sidestep's DNS listener with the DNS proxy of Istio's agent: the same istiod, name table, upstream and
//! queries.
//!
//! The documentation of `mesh_resolver::listener` lists the intended differences, and `compare` models them. Any other
//! difference fails the test.

mod compare;
mod fixture;
mod questions;
mod upstream;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::proto::op::Message;
use mesh_connector::{Config, nds_client::NdsClient};
use mesh_resolver::{MeshResolver, Upstream, listener::DnsListener};
use mesh_tests::{
    peers::{RealMesh, agent::DnsAgent},
    vm_files::Vm,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use self::{compare::Tally, questions::Questions, upstream::UpstreamServer};

/// The number of queries over UDP, and over TCP.
const QUESTIONS: usize = 100_000;
const OVER_TCP: usize = 2_000;

/// The number of concurrent queries.
const WINDOW: usize = 32;

const PATIENCE: Duration = Duration::from_secs(10);

/// Both proxies, in one mesh.
struct Both {
    ours: DnsListener,
    agent: DnsAgent,
    client: NdsClient,
    _upstream: UpstreamServer,
    _real: RealMesh,
}

impl Both {
    async fn start() -> Self {
        let mut real = RealMesh::start().await;
        real.apply("cluster1", &fixture::yaml()).await;
        let vm = Vm {
            namespace: "weather".into(),
            service_account: "dns-agent".into(),
            network: "network1".into(),
            ..Vm::default()
        };
        let files = real.vm_files(&vm);
        let ip: IpAddr = real.ip(9, 53).parse().unwrap();
        let upstream = UpstreamServer::start(SocketAddr::new(ip, 53));
        let resolv_conf = files.join("resolv.conf");
        let text = format!("search {}\nnameserver {ip}\n", fixture::SEARCH.join(" "));
        std::fs::write(&resolv_conf, text).unwrap();
        let client = NdsClient::join(Config::from_vm_files(&files).unwrap()).await.unwrap();
        client.names().clone().wait_for(|names| names.len() >= fixture::NAMES).await.unwrap();
        let resolver = MeshResolver::builder_for(&client).with_upstream(Upstream::resolv_conf(&resolv_conf));
        let listener = DnsListener::builder(resolver.build().unwrap()).bind("127.0.0.1:0");
        let agent = DnsAgent::start(&real, &files, &resolv_conf).await;
        Self { ours: listener.start().unwrap(), agent, client, _upstream: upstream, _real: real }
    }

    /// Waits until both have all names of the table, and returns the names.
    async fn table(&self) -> Vec<String> {
        let names: Vec<_> = self.client.names().load().iter().map(|entry| entry.name().to_owned()).collect();
        let socket = connected(self.agent.dns).await;
        for name in &names {
            let name = name.replace('*', "probe");
            // Each query is a round trip to the agent, which has the table once its Envoy has connected.
            let known =
                async { while !exchange(&socket, &questions::plain(&name)).await.metadata.authoritative {} };
            timeout(PATIENCE, known).await.unwrap_or_else(|_| panic!("the agent does not answer {name}"));
        }
        names
    }
}

async fn connected(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    socket
}

async fn exchange(socket: &UdpSocket, question: &[u8]) -> Message {
    let mut answers = window(socket, &[question.to_vec()]).await;
    Message::from_vec(&answers.remove(0)).unwrap()
}

/// Sends queries concurrently, each with its own id, and returns the answers in the order of the queries.
async fn window(socket: &UdpSocket, questions: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for question in questions {
        socket.send(question).await.unwrap();
    }
    let mut answers = vec![Vec::new(); questions.len()];
    let mut room = vec![0; 65_535];
    while answers.iter().any(Vec::is_empty) {
        let received = timeout(PATIENCE, socket.recv(&mut room)).await;
        let Ok(len) = received.map(Result::unwrap) else {
            let missing = answers.iter().position(Vec::is_empty).map(|at| &questions[at]);
            panic!("no answer to {missing:?}");
        };
        let at = questions.iter().position(|question| question[..2] == room[..2]);
        answers[at.expect("an answer to a question")] = room[..len].to_vec();
    }
    answers
}

async fn over_tcp(stream: &mut TcpStream, question: &[u8]) -> Vec<u8> {
    let mut framed = u16::try_from(question.len()).unwrap().to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).await.unwrap();
    let len = timeout(PATIENCE, stream.read_u16()).await.expect("an answer").unwrap();
    let mut answer = vec![0; len.into()];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

pub(crate) async fn the_listener_answers_like_the_agent_of_istio() {
    let both = Both::start().await;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut questions = Questions::new(both.table().await, seed);
    let mut tally = Tally::default();
    let ours = connected(both.ours.addresses()[0]).await;
    let theirs = connected(both.agent.dns).await;
    for _ in 0..QUESTIONS.div_ceil(WINDOW) {
        let asked = questions.window(WINDOW);
        let (ours, theirs) = tokio::join!(window(&ours, &asked), window(&theirs, &asked));
        for (at, question) in asked.iter().enumerate() {
            tally.compare(question, &ours[at], &theirs[at]);
        }
    }
    let mut ours = TcpStream::connect(both.ours.addresses()[0]).await.unwrap();
    for _ in 0..OVER_TCP / 100 {
        // The agent closes a connection after 128 queries.
        let mut theirs = TcpStream::connect(both.agent.dns).await.unwrap();
        for question in questions.window(100) {
            let (ours, theirs) =
                tokio::join!(over_tcp(&mut ours, &question), over_tcp(&mut theirs, &question));
            tally.compare(&question, &ours, &theirs);
        }
    }
    tally.finish(QUESTIONS + OVER_TCP);
}

/// The DNS library of the agent rejects such messages before the agent sees them
/// (`pkg/dns/client/dns.go:280-286,307-310` never applies).
pub(crate) async fn invalid_queries_are_rejected_like_by_the_agent_of_istio() {
    let both = Both::start().await;
    let names = both.table().await;
    let (ours, theirs) = (connected(both.ours.addresses()[0]).await, connected(both.agent.dns).await);
    for packet in questions::malformed(&names[0]) {
        let asked = [packet];
        let (ours, theirs) = tokio::join!(window(&ours, &asked), window(&theirs, &asked));
        let flags = |answer: &[u8]| (answer[2] & 0xf8, answer[3] & 0x0f);
        assert_eq!(flags(&ours[0]), flags(&theirs[0]), "{:?}", asked[0]);
    }
}
