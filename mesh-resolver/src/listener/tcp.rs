//! DNS over TCP with pipelined queries and limits (RFC 7766).

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use sidestep_util::local_error::is_local_resource;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    connections::{Connections, Slot},
    respond::{Disposition, Transport, respond},
    shared::Shared,
    supervise,
    warnings::{Cause, Warnings},
};
use crate::{dns::MAX_MESSAGE, policy::Asker};

/// The maximum size of a query in bytes.
const MAX_QUERY: usize = 4096;

/// The maximum number of queries of one connection that wait for upstream DNS. At the limit, no further queries are
/// read from the connection.
const PIPELINE: usize = 16;

/// Serves TCP connections until the future is dropped. At the limit, a new connection replaces an idle one.
pub(super) async fn serve(
    listener: TcpListener,
    shared: Shared,
    connections: Arc<Connections>,
    idle: Duration,
) {
    let mut running = JoinSet::new();
    let accept = async |running: &mut JoinSet<()>| {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => match connections.admit(peer.ip()) {
                        Some(slot) => {
                            let shared = shared.clone();
                            let asker = match stream.local_addr() {
                                Ok(server) => Asker::Tcp { client: peer, server },
                                Err(_) => Asker::Unknown,
                            };
                            let connection = Connection { shared, peer, asker, idle, slot };
                            running.spawn(connection.run(stream));
                        }
                        None => warn(&shared.warnings, Cause::Full, &"too few free file descriptors (RLIMIT_NOFILE)"),
                    },
                    Err(error) => {
                        warn(&shared.warnings, Cause::Accept, &error);
                        if is_local_resource(&error) {
                            connections.close_one();
                        }
                        sleep(PAUSE).await;
                    }
                },
                Some(Err(_)) = running.join_next() => supervise::report(&shared.warnings),
            }
        }
    };
    while !supervise::has_ended(&shared.warnings, accept(&mut running)).await {}
}

/// The pause after a TCP connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

fn warn(warnings: &Warnings, cause: Cause, error: &dyn fmt::Display) {
    if let Some(times) = warnings.occurred(cause) {
        tracing::warn!(%error, times, "a DNS connection cannot be accepted");
    }
}

struct Connection {
    shared: Shared,
    peer: SocketAddr,
    asker: Asker,
    idle: Duration,
    slot: Slot,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        tokio::select! {
            served = self.serve(stream) => if let Err(error) = served {
                tracing::debug!(peer = %self.peer, %error, "a DNS connection failed");
            },
            () = self.slot.closed() => {
                tracing::debug!(peer = %self.peer, "an idle DNS connection is closed in favour of a new one");
            }
        }
    }

    /// Answers queries until the client closes the connection or is idle for too long.
    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let (mut reader, mut writer) = stream.split();
        let (mut incoming, mut open) = (Incoming::default(), true);
        let mut upstream = FuturesUnordered::new();
        let mut deadline = self.deadline();
        while open || !upstream.is_empty() {
            tokio::select! {
                message = incoming.next(&mut reader), if open && upstream.len() < PIPELINE => {
                    match message? {
                        Some(message) => match self.respond_or_forward(message) {
                            Ok(answer) => self.write(&mut writer, answer).await?,
                            Err(forwarded) => upstream.push(forwarded),
                        },
                        None => open = false,
                    }
                }
                Some(answer) = upstream.next(), if !upstream.is_empty() => {
                    self.write(&mut writer, Some(answer)).await?;
                }
                () = sleep_until(deadline), if upstream.is_empty() => return Ok(()),
            }
            deadline = self.deadline();
        }
        Ok(())
    }

    /// Returns the time at which the connection is closed if the client is idle until then.
    fn deadline(&self) -> Instant {
        /// Replaces an idle timeout that is too long to be added to an `Instant`.
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let now = Instant::now();
        now.checked_add(self.idle).unwrap_or(now + FAR)
    }

    /// Returns the response, `None` if there is none, or as `Err` a future that resolves to the response of upstream
    /// DNS.
    fn respond_or_forward(&self, message: Vec<u8>) -> Result<Option<Vec<u8>>, BoxFuture<'_, Vec<u8>>> {
        self.slot.set_active();
        let mut packet = vec![0; MAX_MESSAGE];
        packet[..message.len()].copy_from_slice(&message);
        let peer = self.peer.ip();
        let names = self.shared.forwarder.resolver.inner().mesh.load();
        let answer = match respond(&names, &mut packet, message.len(), Transport::Tcp, self.asker) {
            Disposition::Answer(len) => {
                self.shared.counters.mesh.add(peer, &packet);
                Some(len)
            }
            Disposition::NoLocalAddress(len) => {
                self.shared.counters.no_local_address.add(peer, &packet);
                Some(len)
            }
            Disposition::Invalid(reply) => {
                self.shared.counters.malformed.add(peer, &message);
                reply
            }
            Disposition::Forward(asked) => match self.shared.refusal(peer, &message, &asked.query) {
                Some(refusal) => return Ok(Some(refusal)),
                None => {
                    let admitted = match self.shared.admit(peer, &message, &asked.query) {
                        Ok(admitted) => admitted,
                        Err(overloaded) => return Ok(Some(overloaded)),
                    };
                    let forwarded = async move {
                        let _admitted = admitted;
                        self.shared.forward(peer, &message, &asked, Transport::Tcp).await
                    };
                    return Err(forwarded.boxed());
                }
            },
        };
        Ok(answer.map(|len| {
            packet.truncate(len);
            packet
        }))
    }

    /// Writes a response. Fails if the client does not read it in time.
    async fn write(&self, writer: &mut WriteHalf<'_>, answer: Option<Vec<u8>>) -> io::Result<()> {
        let Some(answer) = answer else { return Ok(()) };
        let len = u16::try_from(answer.len()).unwrap_or(u16::MAX);
        let mut framed = len.to_be_bytes().to_vec();
        framed.extend_from_slice(&answer[..len.into()]);
        timeout(self.idle, writer.write_all(&framed)).await?
    }
}

/// The bytes that were read and do not form a complete message yet.
#[derive(Default)]
struct Incoming(Vec<u8>);

impl Incoming {
    /// Reads the next message. Returns `None` when the client has closed the connection. Dropping the future loses no
    /// data.
    async fn next(&mut self, reader: &mut ReadHalf<'_>) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(len) = self.message_len() {
                if len > MAX_QUERY {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the query is longer than 4096 bytes",
                    ));
                }
                if self.0.len() >= 2 + len {
                    let rest = self.0.split_off(2 + len);
                    let mut message = std::mem::replace(&mut self.0, rest);
                    message.drain(..2);
                    return Ok(Some(message));
                }
            }
            self.0.reserve(MAX_QUERY);
            if reader.read_buf(&mut self.0).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn message_len(&self) -> Option<usize> {
        let prefix = self.0.first_chunk::<2>()?;
        Some(u16::from_be_bytes(*prefix).into())
    }
}
