//! A DNS server on loopback, over UDP and TCP, whose answers a test defines.

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

const TIMEOUT: Duration = Duration::from_secs(10);

/// The reaction of a server to a query.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A CNAME record and the addresses of its target.
    Alias(&'static str, Vec<IpAddr>),
    /// CNAME records without addresses.
    Aliases(&'static [(&'static str, &'static str)]),
    /// The addresses of the queried family.
    Addresses(Vec<IpAddr>),
    /// The addresses with another owner than the queried name. Over UDP the response is truncated to the records that
    /// fit.
    Truncated(&'static str, Vec<IpAddr>),
    /// Arbitrary records of the queried name.
    Records(Vec<RData>),
    /// NXDOMAIN with an SOA record whose TTL is one minute.
    Denied,
    /// Addresses with a TTL of zero, which must not be cached.
    Uncacheable(Vec<IpAddr>),
    /// NXDOMAIN without an SOA record.
    NxDomain,
    /// SERVFAIL.
    ServFail,
    /// No response.
    Silence,
    /// A truncated response over UDP, the addresses over TCP.
    TcpOnly(Vec<IpAddr>),
    /// A truncated response over UDP, no response over TCP.
    TcpSilence,
}

type Zone = dyn Fn(&str, RecordType) -> Reply + Send + Sync;

/// A running server, which stops when it is dropped.
pub(crate) struct NameServer {
    address: SocketAddr,
    seen: watch::Sender<Seen>,
    _tasks: JoinSet<()>,
}

/// The queries and connections that a server has received.
#[derive(Default)]
pub(crate) struct Seen {
    /// The queried names in order, with repetitions.
    pub(crate) asked: Vec<String>,
    /// The number of TCP connections so far.
    pub(crate) connections: usize,
    /// The number of open TCP connections.
    pub(crate) open: usize,
}

pub(crate) fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

impl NameServer {
    /// Starts a server that answers with the results of `zone`, which receives names in lower case and without the
    /// trailing dot.
    pub(crate) async fn start(zone: impl Fn(&str, RecordType) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), zone).await
    }

    /// Starts a server at the given address of this host.
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

    /// Starts a server that never answers.
    pub(crate) async fn silent() -> Self {
        Self::start(|_, _| Reply::Silence).await
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The queried names in order, with repetitions.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.borrow().asked.clone()
    }

    /// Returns the number of TCP connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.seen.borrow().connections
    }

    /// Waits until the condition is true for the received queries.
    pub(crate) async fn has_seen(&self, condition: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        timeout(TIMEOUT, seen.wait_for(condition)).await.expect("the condition becomes true").unwrap();
    }
}

/// Binds a UDP and a TCP socket to one free port.
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
        Reply::Uncacheable(ips) => message.add_answers(addresses(&name, kind, ips).map(|mut record| {
            record.ttl = 0;
            record
        })),
        Reply::Truncated(owner, ips) => {
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
    let family = ips.into_iter().filter(move |ip| ip.is_ipv4() == (kind == RecordType::A));
    family.map(move |ip| Record::from_rdata(owner.clone(), 60, RData::from(ip)))
}
