//! The thread that answers over UDP: the mesh's names at once, all others by way of the runtime.

use std::{
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixStream,
    sync::Arc,
    time::Instant,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{RecvFlags, recvfrom},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    abroad::{Rate, transport},
    forward,
    outbox::Outbox,
    respond::{Forwarded, Verdict, respond},
    shared::Shared,
};
use crate::dns::{MAX_MESSAGE, header::Code, query::Query, reply};

/// So many packets of one socket are answered before the others have their turn.
const TURN: usize = 64;

/// How many packets are asked for after each wait. Where they come one by one, asking for a second one is a system call
/// for nothing.
#[derive(Debug, Default)]
struct Pace {
    one_by_one: bool,
    turns: u8,
}

/// Every so many turns it is looked whether there are more.
const LOOK: u8 = 16;

impl Pace {
    fn most(&mut self) -> usize {
        self.turns = (self.turns + 1) % LOOK;
        if self.one_by_one && self.turns > 0 { 1 } else { TURN }
    }

    fn answered(&mut self, packets: usize) {
        if self.turns == 0 || !self.one_by_one {
            self.one_by_one = packets <= 1;
        }
    }
}

/// A query on its way upstream.
pub(super) struct Job {
    message: Box<[u8]>,
    asked: Box<Forwarded>,
    socket: Arc<UdpSocket>,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

/// Passes queries on until the thread is gone.
pub(super) async fn forward_all(shared: Shared, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => {
                    running.spawn(job.run(shared.clone()));
                }
                None => return,
            },
            Some(_) = running.join_next() => {}
        }
    }
}

impl Job {
    async fn run(self, shared: Shared) {
        let answer = shared.forward(self.peer.ip(), &self.message, &self.asked, transport(self.peer)).await;
        send(&self.socket, &answer, self.peer);
    }
}

/// What the thread has.
pub(super) struct UdpServer {
    pub(super) sockets: Vec<Arc<UdpSocket>>,
    pub(super) shared: Shared,
    pub(super) jobs: mpsc::UnboundedSender<Job>,
    /// One for each query that may be on its way upstream.
    pub(super) permits: Arc<Semaphore>,
    pub(super) rate: Rate,
    /// The thread ends when the other end is closed.
    pub(super) stop: UnixStream,
}

impl UdpServer {
    /// Answers until told to stop.
    pub(super) fn run(self) {
        let mut outbox = Outbox::new();
        let stop = PollFd::new(&self.stop, PollFlags::IN);
        let sockets = self.sockets.iter().map(|socket| PollFd::new(&**socket, PollFlags::IN));
        let mut waiting: Vec<_> = [stop].into_iter().chain(sockets).collect();
        let mut pace = Pace::default();
        loop {
            match poll(&mut waiting, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "the DNS listener cannot wait for queries and ends");
                    return;
                }
            }
            if !waiting[0].revents().is_empty() {
                return;
            }
            let most = pace.most();
            let ready = self.sockets.iter().zip(&waiting[1..]).filter(|(_, fd)| !fd.revents().is_empty());
            let answered = ready.map(|(socket, _)| self.turn(socket, &mut outbox, most)).max();
            pace.answered(answered.unwrap_or(0));
        }
    }

    /// Answers what has arrived, at most so many packets, and gives their number.
    fn turn(&self, socket: &Arc<UdpSocket>, outbox: &mut Outbox, most: usize) -> usize {
        let mut arrived = 0;
        while arrived < most {
            match recvfrom(socket, outbox.room(), RecvFlags::empty()) {
                Ok((_, len, Some(address))) => {
                    if let Ok(peer) = SocketAddr::try_from(address.clone())
                        && let Some(len) = self.answer(socket, outbox.room(), len.min(MAX_MESSAGE), peer)
                    {
                        outbox.add(len, address, socket);
                    }
                }
                // Nobody to answer to.
                Ok((_, _, None)) => {}
                Err(Errno::AGAIN) => break,
                // What an earlier answer came to: its receiver is gone. It is told once.
                Err(error) => {
                    tracing::trace!(%error, "a DNS listener's socket reports an error");
                    break;
                }
            }
            arrived += 1;
        }
        outbox.send(socket);
        arrived
    }

    /// The length of the answer that has taken the packet's place, where there is one at once.
    fn answer(
        &self,
        socket: &Arc<UdpSocket>,
        packet: &mut [u8],
        len: usize,
        peer: SocketAddr,
    ) -> Option<usize> {
        let counters = &self.shared.counters;
        if self.rate.is_exceeded(peer.ip(), Instant::now) {
            counters.limited.add(peer.ip(), &packet[..len]);
            return send_to_tcp(&mut packet[..len]);
        }
        // For each packet anew: a name that is there when it is asked for is answered.
        match respond(&self.shared.forwarder.resolver.inner().mesh.load(), packet, len, transport(peer)) {
            Verdict::Answer(len) => {
                counters.mesh.add(peer.ip(), &packet[..len]);
                Some(len)
            }
            Verdict::Forward(asked) => {
                self.forward(socket, &packet[..len], asked, peer);
                None
            }
            Verdict::Unfit(reply) => {
                counters.malformed.add(peer.ip(), &packet[..len]);
                reply
            }
        }
    }

    fn forward(&self, socket: &Arc<UdpSocket>, message: &[u8], asked: Box<Forwarded>, peer: SocketAddr) {
        if let Some(refusal) = self.shared.refusal(peer.ip(), message, &asked.query) {
            return send(socket, &refusal, peer);
        }
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return self.overloaded(socket, message, &asked.query, peer);
        };
        let job = Job { message: message.into(), asked, socket: socket.clone(), peer, _permit: permit };
        if let Err(mpsc::error::SendError(job)) = self.jobs.send(job) {
            // The runtime is gone.
            self.overloaded(socket, message, &job.asked.query, peer);
        }
    }

    fn overloaded(&self, socket: &UdpSocket, message: &[u8], query: &Query, peer: SocketAddr) {
        self.shared.counters.overload.add(peer.ip(), message);
        send(socket, &forward::failure(message, query, Code::ServFail), peer);
    }
}

/// The answer that is no longer than the query, for whoever has asked too often. What is no query has none.
fn send_to_tcp(packet: &mut [u8]) -> Option<usize> {
    let query = Query::parse(packet).ok()?;
    Some(reply::truncated(packet, &query))
}

/// Sends what can be sent at once: whoever misses an answer asks again.
fn send(socket: &UdpSocket, answer: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.send_to(answer, peer) {
        tracing::debug!(%peer, %error, "an answer could not be sent");
    }
}
