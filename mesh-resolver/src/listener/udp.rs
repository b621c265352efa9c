//! The thread that serves UDP. It answers mesh names itself and sends all other queries to the runtime.

use std::{
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{RecvFlags, recv, recvfrom},
};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    admission::Admitted,
    rate_limit::{RateLimiter, udp_transport},
    respond::{Disposition, ForwardedQuery, respond},
    send_batch::SendBatch,
    shared::Shared,
    supervise,
    warnings::Cause,
};
use crate::{
    dns::{MAX_MESSAGE, query::Query, reply},
    policy::Asker,
};

/// The maximum number of packets to read from one socket before the server reads from the next socket.
const MAX_PACKETS_PER_TURN: usize = 64;

/// Adapts the number of packets to read after each wait (`poll`). While packets arrive one by one, an attempt to read a
/// second packet wastes a system call.
#[derive(Debug, Default)]
struct AdaptiveBatch {
    one_by_one: bool,
    turns: u8,
}

/// The number of waits after which the server tries to read several packets again.
const CHECK_INTERVAL: u8 = 16;

impl AdaptiveBatch {
    fn next_limit(&mut self) -> usize {
        self.turns = (self.turns + 1) % CHECK_INTERVAL;
        if self.one_by_one && self.turns > 0 { 1 } else { MAX_PACKETS_PER_TURN }
    }

    fn record(&mut self, packets: usize) {
        if self.turns == 0 || !self.one_by_one {
            self.one_by_one = packets <= 1;
        }
    }
}

/// The pause after an error of a UDP socket.
const PAUSE: Duration = Duration::from_millis(10);

/// A query that waits for upstream DNS.
pub(super) struct PendingQuery {
    message: Box<[u8]>,
    asked: Box<ForwardedQuery>,
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    _admitted: Admitted,
}

/// Forwards queries until the UDP thread has ended.
pub(super) async fn forward_all(shared: Shared, mut pending: mpsc::UnboundedReceiver<PendingQuery>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            query = pending.recv() => match query {
                Some(query) => {
                    running.spawn(query.run(shared.clone()));
                }
                None => return,
            },
            // The task of a query panicked. Its client gets no response and retries.
            Some(Err(_)) = running.join_next() => supervise::report(&shared.warnings),
        }
    }
}

impl PendingQuery {
    async fn run(self, shared: Shared) {
        let answer =
            shared.forward(self.peer.ip(), &self.message, &self.asked, udp_transport(self.peer)).await;
        send(&self.socket, &answer, self.peer);
    }
}

/// The state of the UDP thread.
pub(super) struct UdpServer {
    /// The sockets, with their addresses.
    pub(super) sockets: Vec<(Arc<UdpSocket>, SocketAddr)>,
    pub(super) shared: Shared,
    pub(super) pending: mpsc::UnboundedSender<PendingQuery>,
    pub(super) rate: RateLimiter,
    /// The thread ends when the other end of this socket is closed.
    pub(super) stop: UnixStream,
}

impl UdpServer {
    /// Serves queries until `stop` is closed. After a panic, the server continues with the next query.
    pub(super) fn run(&self) {
        while !supervise::has_returned(&self.shared.warnings, || self.serve()) {}
    }

    fn serve(&self) {
        let mut batch = SendBatch::new();
        let stop = PollFd::new(&self.stop, PollFlags::IN);
        let sockets = self.sockets.iter().map(|(socket, _)| PollFd::new(&**socket, PollFlags::IN));
        let mut waiting: Vec<_> = [stop].into_iter().chain(sockets).collect();
        let mut read_limit = AdaptiveBatch::default();
        loop {
            match poll(&mut waiting, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    self.pause(error);
                    if self.is_stopped() {
                        return;
                    }
                    continue;
                }
            }
            if !waiting[0].revents().is_empty() {
                return;
            }
            let limit = read_limit.next_limit();
            let ready = self.sockets.iter().zip(&waiting[1..]).filter(|(_, fd)| !fd.revents().is_empty());
            let answered =
                ready.map(|((socket, server), _)| self.turn(socket, *server, &mut batch, limit)).max();
            read_limit.record(answered.unwrap_or(0));
        }
    }

    /// Whether `stop` is closed.
    fn is_stopped(&self) -> bool {
        matches!(recv(&self.stop, &mut [0; 1], RecvFlags::DONTWAIT), Ok((_, 0)))
    }

    /// Answers at most `limit` packets that have arrived and returns their number.
    fn turn(
        &self,
        socket: &Arc<UdpSocket>,
        server: SocketAddr,
        batch: &mut SendBatch,
        limit: usize,
    ) -> usize {
        let mut arrived = 0;
        while arrived < limit {
            match recvfrom(socket, batch.buffer(), RecvFlags::empty()) {
                Ok((_, len, Some(address))) => {
                    if let Ok(peer) = SocketAddr::try_from(address.clone())
                        && let Some(len) =
                            self.answer(socket, batch.buffer(), len.min(MAX_MESSAGE), peer, server)
                    {
                        batch.add(len, address, socket);
                    }
                }
                // The packet has no source address.
                Ok((_, _, None)) => {}
                Err(Errno::AGAIN) => break,
                // The socket reports once that the receiver of an earlier response does not exist.
                Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::INTR) => break,
                Err(error) => {
                    self.pause(error);
                    break;
                }
            }
            arrived += 1;
        }
        batch.send(socket);
        arrived
    }

    /// Logs a socket error and pauses. Without the pause, a repeated error, such as missing memory, would use all CPU
    /// time.
    fn pause(&self, error: Errno) {
        if let Some(times) = self.shared.warnings.occurred(Cause::Socket) {
            tracing::warn!(%error, times, "a socket of the DNS listener failed: answering continues after a pause");
        }
        thread::sleep(PAUSE);
    }

    /// Answers a packet in place and returns the length of the response. Returns `None` if the caller must send no
    /// response: the packet gets none, or `forward` sends it.
    fn answer(
        &self,
        socket: &Arc<UdpSocket>,
        packet: &mut [u8],
        len: usize,
        peer: SocketAddr,
        server: SocketAddr,
    ) -> Option<usize> {
        let counters = &self.shared.counters;
        if self.rate.is_exceeded(peer.ip(), Instant::now) {
            counters.rate_limited.add(peer.ip(), &packet[..len]);
            return truncated_response(&mut packet[..len]);
        }
        // The table is loaded for each packet, so that a new name is answered immediately.
        let names = self.shared.forwarder.resolver.inner().mesh.load();
        match respond(&names, packet, len, udp_transport(peer), Asker::Udp { client: peer, server }) {
            Disposition::Answer(len) => {
                counters.mesh.add(peer.ip(), &packet[..len]);
                Some(len)
            }
            Disposition::NoLocalAddress(len) => {
                counters.no_local_address.add(peer.ip(), &packet[..len]);
                Some(len)
            }
            Disposition::Forward(asked) => {
                self.forward(socket, &packet[..len], asked, peer);
                None
            }
            Disposition::Invalid(reply) => {
                counters.malformed.add(peer.ip(), &packet[..len]);
                reply
            }
        }
    }

    fn forward(&self, socket: &Arc<UdpSocket>, message: &[u8], asked: Box<ForwardedQuery>, peer: SocketAddr) {
        if let Some(refusal) = self.shared.refusal(peer.ip(), message, &asked.query) {
            return send(socket, &refusal, peer);
        }
        let admitted = match self.shared.admit(peer.ip(), message, &asked.query) {
            Ok(admitted) => admitted,
            Err(overloaded) => return send(socket, &overloaded, peer),
        };
        let query = PendingQuery {
            message: message.into(),
            asked,
            socket: socket.clone(),
            peer,
            _admitted: admitted,
        };
        if let Err(mpsc::error::SendError(query)) = self.pending.send(query) {
            // The runtime has shut down.
            send(socket, &self.shared.overload(peer.ip(), message, &query.asked.query), peer);
        }
    }
}

/// Builds a truncated response, which makes the client retry over TCP. A packet that is not a query gets no response.
fn truncated_response(packet: &mut [u8]) -> Option<usize> {
    let query = Query::parse(packet).ok()?;
    Some(reply::truncated(packet, &query))
}

/// Sends a response without blocking. A client that misses a response retries.
fn send(socket: &UdpSocket, answer: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(answer, peer) {
        tracing::debug!(%peer, %error, "a DNS response cannot be sent");
    }
}
