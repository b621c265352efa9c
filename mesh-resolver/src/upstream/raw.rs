//! Whole DNS messages, passed on to the servers and back as they are but for their ids.
//!
//! As the host's own resolver asks: one server at a time, in order, `attempts` times around, over the transport that
//! the message came by. A server that does not answer, or answers SERVFAIL, NOTIMP or REFUSED, makes way for the next
//! (glibc's `res_nsend`).

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use hickory_resolver::config::{NameServerConfig, ProtocolConfig, ResolverOpts};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// The servers, as addresses.
#[derive(Debug)]
pub(crate) struct Raw {
    servers: Vec<SocketAddr>,
    attempts: usize,
    timeout: Duration,
    turn: Option<AtomicUsize>,
}

/// How a message travels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    Tcp,
    /// With the longest answer that the asker takes.
    Udp {
        size: usize,
    },
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no upstream name server is left that is not this listener itself")]
    Loop,
    /// Nobody is upstream, and that is as it should be.
    #[error("there is no upstream")]
    Nobody,
    #[error("no upstream name server answered: {0}")]
    Unreachable(#[source] io::Error),
}

impl Raw {
    pub(super) fn new(servers: &[NameServerConfig], options: &ResolverOpts, rotate: bool) -> Self {
        let address = |server: &NameServerConfig| {
            let plain = |protocol: &ProtocolConfig| matches!(protocol, ProtocolConfig::Udp);
            let connection = server.connections.iter().find(|connection| plain(&connection.protocol))?;
            Some(SocketAddr::new(server.ip, connection.port))
        };
        let servers = servers.iter().filter_map(address).collect();
        let turn = rotate.then(AtomicUsize::default);
        Self { servers, attempts: options.attempts.max(1), timeout: options.timeout, turn }
    }

    /// The answer of the first server that has one, with the id of the message. Servers that `own` names are not
    /// asked: the question came from there.
    pub(crate) async fn ask(
        &self,
        message: &[u8],
        question_end: usize,
        transport: Transport,
        own: impl Fn(SocketAddr) -> bool,
    ) -> Result<Vec<u8>, NoAnswer> {
        if self.servers.is_empty() {
            return Err(NoAnswer::Nobody);
        }
        let mut others: Vec<_> = self.servers.iter().copied().filter(|server| !own(*server)).collect();
        if let Some(turn) = &self.turn {
            let first = turn.fetch_add(1, Relaxed) % others.len().max(1);
            others.rotate_left(first);
        }
        let mut last = Err(NoAnswer::Loop);
        for _ in 0..self.attempts {
            for server in &others {
                let asked = exchange(*server, message, question_end, transport);
                match timeout(self.timeout, asked).await.unwrap_or_else(|late| Err(late.into())) {
                    Ok(answer) if is_failure(&answer) => last = Ok(answer),
                    Ok(answer) => return Ok(answer),
                    Err(error) => {
                        tracing::debug!(%server, %error, "an upstream name server gave no answer");
                        last = last.or(Err(NoAnswer::Unreachable(error)));
                    }
                }
            }
        }
        last
    }
}

/// SERVFAIL, NOTIMP, REFUSED.
fn is_failure(answer: &[u8]) -> bool {
    answer.get(3).is_some_and(|flags| matches!(flags & 0x0f, 2 | 4 | 5))
}

async fn exchange(
    server: SocketAddr,
    message: &[u8],
    question_end: usize,
    transport: Transport,
) -> io::Result<Vec<u8>> {
    // An id that nobody who does not see it can foresee: std's hash keys come from the system.
    let id = RandomState::new().hash_one(server).to_be_bytes();
    let mut question = message.to_vec();
    question[..2].copy_from_slice(&id[..2]);
    let mut answer = match transport {
        Transport::Tcp => over_tcp(server, &question).await?,
        Transport::Udp { size } => over_udp(server, &question, question_end, size).await?,
    };
    if !is_answer(&answer, &question, question_end) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to another question"));
    }
    answer[..2].copy_from_slice(&message[..2]);
    Ok(answer)
}

/// Over a socket of its own, so that the port is another one each time.
async fn over_udp(
    server: SocketAddr,
    question: &[u8],
    question_end: usize,
    size: usize,
) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; size.max(4096)];
    loop {
        let len = socket.recv(&mut answer).await?;
        if is_answer(&answer[..len], question, question_end) {
            answer.truncate(len);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> io::Result<Vec<u8>> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a message of more than 64 KiB");
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

/// Whether it answers this question: the id, the operation, and the question, whose case the server may have changed.
/// An answer that failed early may come without the question.
fn is_answer(answer: &[u8], question: &[u8], question_end: usize) -> bool {
    let (Some(header), Some(asked)) = (answer.get(..12), question.get(12..question_end)) else {
        return false;
    };
    let same_question =
        || answer.get(12..question_end).is_some_and(|repeated| repeated.eq_ignore_ascii_case(asked));
    header[..2] == question[..2]
        && header[2] & 0xf8 == 0x80
        && (same_question() || header[3] & 0x0f != 0 && header[4..6] == [0, 0])
}
