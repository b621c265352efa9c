//! Sends DNS messages to the servers and receives their answers.
//!
//! Like the host's resolver, it queries one server at a time, in order, for `attempts` rounds. If a server does not
//! answer or returns SERVFAIL, NOTIMP or REFUSED, the next one is queried (glibc's `res_nsend`).

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sidestep_util::local_error::is_local_resource;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{
    failure::NoAnswer, observe, options::ResolverOptions, self_addresses::SelfAddresses, sockets::SocketLimit,
};
use crate::dns::{
    header::is_failure,
    question::{is_answer, udp_size},
};

/// The servers, and the settings for querying them.
#[derive(Debug)]
pub(super) struct Exchange {
    servers: Vec<SocketAddr>,
    attempts: usize,
    timeout: Duration,
    turn: Option<AtomicUsize>,
    /// The DNS listeners of this resolver. They are never queried, because the listener would forward the query to
    /// upstream DNS again.
    self_addresses: Arc<SelfAddresses>,
    sockets: Arc<SocketLimit>,
}

/// The transport of a message.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl Exchange {
    pub(super) fn new(
        options: &ResolverOptions,
        self_addresses: Arc<SelfAddresses>,
        sockets: Arc<SocketLimit>,
    ) -> Self {
        Self {
            servers: options.servers.clone(),
            attempts: options.attempts,
            timeout: options.timeout,
            turn: options.rotate.then(AtomicUsize::default),
            self_addresses,
            sockets,
        }
    }

    /// Sends `message` to one server after another, and returns the first successful answer, whose ID is that of
    /// `message`. If no server succeeds, returns the last failure response, such as SERVFAIL, or an error if no server
    /// responded.
    ///
    /// A socket that this host cannot open says nothing about the server: it is a local error.
    pub(super) async fn query(&self, message: &[u8], transport: Transport) -> Result<Vec<u8>, NoAnswer> {
        if self.servers.is_empty() {
            return Err(NoAnswer::Disabled);
        }
        let mut servers: Vec<_> =
            self.servers.iter().copied().filter(|it| !self.self_addresses.contains(*it)).collect();
        if let Some(turn) = &self.turn {
            let first = turn.fetch_add(1, Relaxed) % servers.len().max(1);
            servers.rotate_left(first);
        }
        // One socket is open at a time.
        let _socket = self.sockets.acquire(self.timeout).await.map_err(NoAnswer::NoSocket)?;
        let mut last = Err(NoAnswer::Loop);
        for _ in 0..self.attempts {
            for server in &servers {
                match self.query_server(*server, message, transport).await {
                    Ok(answer) if is_failure(&answer) => last = Ok(answer),
                    Ok(answer) => return Ok(answer),
                    Err(error) if is_local_resource(&error) => {
                        last = last.or(Err(NoAnswer::LocalResource(error.into())));
                    }
                    Err(error) => last = last.or(Err(NoAnswer::Unreachable(error.into()))),
                }
            }
        }
        last
    }

    async fn query_server(
        &self,
        server: SocketAddr,
        message: &[u8],
        transport: Transport,
    ) -> io::Result<Vec<u8>> {
        let start = Instant::now();
        let answer = timeout(self.timeout, exchange(server, message, transport)).await;
        let outcome = answer.unwrap_or_else(|late| Err(late.into()));
        observe::server_queried(server, start.elapsed(), &outcome);
        outcome
    }
}

async fn exchange(server: SocketAddr, message: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    // An unpredictable ID: the keys of std's hasher come from the system's random source.
    let id = RandomState::new().hash_one(server).to_be_bytes();
    let mut question = message.to_vec();
    question[..2].copy_from_slice(&id[..2]);
    let mut answer = match transport {
        Transport::Tcp => over_tcp(server, &question).await?,
        Transport::Udp => over_udp(server, &question).await?,
    };
    if !is_answer(&answer, &question) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer does not match the question"));
    }
    answer[..2].copy_from_slice(&message[..2]);
    Ok(answer)
}

/// Sends a query over UDP and returns the answer. Each query uses a new socket and thus a random source port.
async fn over_udp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; udp_size(question).max(4096)];
    loop {
        let len = socket.recv(&mut answer).await?;
        if is_answer(&answer[..len], question) {
            answer.truncate(len);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the message is longer than 64 KiB");
    let len = u16::try_from(question.len()).map_err(too_long)?;
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = len.to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).await?;
    let len = stream.read_u16().await?;
    let mut answer = vec![0; len.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
