//! A name server on loopback, over UDP and TCP, whose answers a test writes down.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, SOA},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// What a server does with a question.
#[derive(Clone)]
pub(crate) enum Reply {
    /// An alias, and addresses under the name that it stands for.
    Alias(&'static str, Vec<IpAddr>),
    /// Aliases, name by name, and no address.
    Aliases(&'static [(&'static str, &'static str)]),
    /// Those of the addresses that are of the family asked for.
    Addresses(Vec<IpAddr>),
    /// The addresses under another name than was asked for; marked truncated over UDP, with as many as fit.
    Cut(&'static str, Vec<IpAddr>),
    /// Any records.
    Records(Vec<RData>),
    /// The name does not exist, for a minute.
    Denied,
    /// Addresses with a TTL of zero.
    NotKept(Vec<IpAddr>),
    /// The name does not exist.
    NxDomain,
    /// The server fails.
    ServFail,
    /// No answer at all.
    Silence,
    /// Truncated over UDP, the addresses over TCP.
    TcpOnly(Vec<IpAddr>),
    /// Truncated over UDP, no answer over TCP.
    TcpSilence,
}

type Zone = dyn Fn(&str, RecordType) -> Reply + Send + Sync;

/// A running server; it ends with the value.
pub(crate) struct NameServer {
    address: SocketAddr,
    seen: watch::Sender<Seen>,
    _tasks: JoinSet<()>,
}

/// What has come to a server.
#[derive(Default)]
pub(crate) struct Seen {
    /// The names it was asked for, in order, each as often as it was.
    pub(crate) asked: Vec<String>,
    /// TCP connections ever made.
    pub(crate) connections: usize,
    /// TCP connections that are open.
    pub(crate) open: usize,
}

pub(crate) fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

impl NameServer {
    /// Starts a server that answers by `zone`: the name asked for is lower-case and without the trailing dot.
    pub(crate) async fn start(zone: impl Fn(&str, RecordType) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), zone).await
    }

    /// The same at another address of this host.
    pub(crate) async fn start_at(
        ip: IpAddr,
        zone: impl Fn(&str, RecordType) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (udp, tcp) = sockets(ip).await;
        let address = udp.local_addr().unwrap();
        let seen = watch::Sender::new(Seen::default());
        let zone: Arc<Zone> = Arc::new(zone);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_udp(udp, zone.clone(), seen.clone()));
        tasks.spawn(serve_tcp(tcp, zone, seen.clone()));
        Self { address, seen, _tasks: tasks }
    }

    /// A server that never answers.
    pub(crate) async fn silent() -> Self {
        Self::start(|_, _| Reply::Silence).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names it was asked for, in order, each as often as it was.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.borrow().asked.clone()
    }

    /// How many TCP connections were made to it.
    pub(crate) fn connections(&self) -> usize {
        self.seen.borrow().connections
    }

    /// Waits until this is true of what has come.
    pub(crate) async fn has_seen(&self, condition: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        timeout(PATIENCE, seen.wait_for(condition)).await.expect("the server sees it").unwrap();
    }
}

/// A port that is free for both.
async fn sockets(ip: IpAddr) -> (UdpSocket, TcpListener) {
    loop {
        let tcp = TcpListener::bind((ip, 0)).await.unwrap();
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, zone: Arc<Zone>, seen: watch::Sender<Seen>) {
    let mut buffer = [0; 4096];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&buffer[..len], &*zone, &seen, false) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Zone>, seen: watch::Sender<Seen>) {
    let mut open = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        seen.send_modify(|seen| (seen.connections, seen.open) = (seen.connections + 1, seen.open + 1));
        let (zone, seen) = (zone.clone(), seen.clone());
        open.spawn(async move {
            serve_connection(stream, &*zone, &seen).await;
            seen.send_modify(|seen| seen.open -= 1);
        });
    }
}

async fn serve_connection(mut stream: TcpStream, zone: &Zone, seen: &watch::Sender<Seen>) {
    while let Ok(len) = stream.read_u16().await {
        let mut question = vec![0; len.into()];
        stream.read_exact(&mut question).await.unwrap();
        if let Some(answer) = answer(&question, zone, seen, true) {
            stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

fn answer(question: &[u8], zone: &Zone, seen: &watch::Sender<Seen>, tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let (name, kind) = (query.name().clone(), query.query_type());
    let text = name.to_lowercase().to_ascii();
    let text = text.trim_end_matches('.');
    seen.send_modify(|seen| seen.asked.push(text.to_owned()));
    let mut message = Message::response(question.id, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_query(query);
    match zone(text, kind) {
        Reply::Addresses(ips) => message.add_answers(addresses(&name, kind, ips)),
        Reply::Alias(target, ips) => {
            let target = Name::from_ascii(target).unwrap();
            message.add_answer(Record::from_rdata(name, 60, RData::CNAME(CNAME(target.clone()))));
            message.add_answers(addresses(&target, kind, ips))
        }
        Reply::Aliases(aliases) => message.add_answers(aliases.iter().map(|(from, to)| {
            let [from, to] = [from, to].map(|name| Name::from_ascii(format!("{name}.")).unwrap());
            Record::from_rdata(from, 60, RData::CNAME(CNAME(to)))
        })),
        Reply::NotKept(ips) => message.add_answers(addresses(&name, kind, ips).map(|mut record| {
            record.ttl = 0;
            record
        })),
        Reply::Cut(owner, ips) => {
            let owner = Name::from_ascii(owner).unwrap();
            message.metadata.truncation = !tcp;
            message.add_answers(addresses(&owner, kind, ips));
            while !tcp && message.to_vec().unwrap().len() > 512 {
                message.answers.pop();
            }
            &mut message
        }
        Reply::Records(data) => {
            message.add_answers(data.into_iter().map(|data| Record::from_rdata(name.clone(), 60, data)))
        }
        Reply::Denied => {
            let zone = Name::from_ascii("example.").unwrap();
            let soa = SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 60);
            message.add_authority(Record::from_rdata(zone, 60, RData::SOA(soa)));
            code(&mut message, ResponseCode::NXDomain)
        }
        Reply::NxDomain => code(&mut message, ResponseCode::NXDomain),
        Reply::ServFail => code(&mut message, ResponseCode::ServFail),
        Reply::Silence => return None,
        Reply::TcpSilence if tcp => return None,
        Reply::TcpOnly(ips) if tcp => message.add_answers(addresses(&name, kind, ips)),
        Reply::TcpOnly(_) | Reply::TcpSilence => {
            message.metadata.truncation = true;
            &mut message
        }
    };
    Some(message.to_vec().unwrap())
}

fn code(message: &mut Message, code: ResponseCode) -> &mut Message {
    message.metadata.response_code = code;
    message
}

fn addresses(owner: &Name, kind: RecordType, ips: Vec<IpAddr>) -> impl Iterator<Item = Record> {
    let of_the_family = ips.into_iter().filter(move |ip| ip.is_ipv4() == (kind == RecordType::A));
    of_the_family.map(move |ip| Record::from_rdata(owner.clone(), 60, RData::from(ip)))
}
