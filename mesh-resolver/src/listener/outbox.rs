//! A batch of responses that is sent with one system call (`sendmmsg`). The responses are written into one buffer,
//! each over its query.

use std::{net::UdpSocket, ops::Range};

use rustix::net::{SendFlags, SocketAddrAny, sendto};

use crate::dns::MAX_MESSAGE;

/// The maximum number of responses in a batch. A larger batch is not faster.
const MOST: usize = 32;

/// The batch is sent when it exceeds this number of bytes.
const FULL: usize = 16 * 1024;

pub(super) struct Outbox {
    bytes: Box<[u8]>,
    answers: Vec<Answer>,
}

struct Answer {
    at: Range<usize>,
    peer: SocketAddrAny,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; FULL + MAX_MESSAGE].into(), answers: Vec::with_capacity(MOST) }
    }

    fn end(&self) -> usize {
        self.answers.last().map_or(0, |answer| answer.at.end)
    }

    /// Returns the buffer for the next packet and its response.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let end = self.end();
        &mut self.bytes[end..end + MAX_MESSAGE]
    }

    /// Adds the response in the first `len` bytes of the buffer. Sends the batch if it is full.
    pub(super) fn add(&mut self, len: usize, peer: SocketAddrAny, socket: &UdpSocket) {
        let start = self.end();
        self.answers.push(Answer { at: start..start + len, peer });
        if self.answers.len() == MOST || self.end() > FULL {
            self.send(socket);
        }
    }

    /// Sends the batch without blocking. A client that misses a response retries.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        match &*self.answers {
            [] => return,
            [only] => self.send_one(socket, only),
            all => self.send_all(socket, all),
        }
        self.answers.clear();
    }

    fn send_one(&self, socket: &UdpSocket, answer: &Answer) {
        if let Err(error) = sendto(socket, &self.bytes[answer.at.clone()], SendFlags::empty(), &answer.peer) {
            tracing::debug!(peer = ?answer.peer, %error, "a DNS response cannot be sent");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_all(&self, socket: &UdpSocket, answers: &[Answer]) {
        answers.iter().for_each(|answer| self.send_one(socket, answer));
    }

    #[cfg(target_os = "linux")]
    fn send_all(&self, socket: &UdpSocket, mut answers: &[Answer]) {
        use std::io::IoSlice;

        use rustix::net::{MMsgHdr, SendAncillaryBuffer, sendmmsg};

        while !answers.is_empty() {
            let slices: Vec<_> =
                answers.iter().map(|answer| [IoSlice::new(&self.bytes[answer.at.clone()])]).collect();
            let mut nothing: [_; MOST] = std::array::from_fn(|_| SendAncillaryBuffer::default());
            let parts = answers.iter().zip(&slices).zip(&mut nothing);
            let mut messages: Vec<_> = parts
                .map(|((answer, slice), nothing)| MMsgHdr::new_with_addr(&answer.peer, slice, nothing))
                .collect();
            // `sendmmsg` stops before the first message that cannot be sent, and fails if that is the first one.
            let sent = sendmmsg(socket, &mut messages, SendFlags::empty()).unwrap_or_else(|error| {
                tracing::debug!(peer = ?answers[0].peer, %error, "a DNS response cannot be sent");
                1
            });
            answers = answers.get(sent.max(1)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use super::*;

    fn socket() -> (UdpSocket, SocketAddrAny) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let address: SocketAddr = socket.local_addr().unwrap();
        (socket, address.into())
    }

    fn received(socket: &UdpSocket) -> Vec<u8> {
        let mut room = vec![0; MAX_MESSAGE];
        let len = socket.recv(&mut room).unwrap();
        room.truncate(len);
        room
    }

    #[test]
    fn responses_reach_their_clients_in_order() {
        let ((sender, _), mut outbox) = (socket(), Outbox::new());
        let peers = [socket(), socket()];
        for count in [1, 2, MOST, 3 * MOST + 1] {
            for number in 0..count {
                let text = format!("answer {number}");
                outbox.room()[..text.len()].copy_from_slice(text.as_bytes());
                outbox.add(text.len(), peers[number % 2].1.clone(), &sender);
            }
            outbox.send(&sender);
            for number in 0..count {
                assert_eq!(received(&peers[number % 2].0), format!("answer {number}").as_bytes());
            }
        }
    }

    #[test]
    fn a_batch_of_long_responses_is_sent_early() {
        let ((sender, _), (peer, address), mut outbox) = (socket(), socket(), Outbox::new());
        for byte in 0..8 {
            outbox.room()[..9000].fill(byte);
            outbox.add(9000, address.clone(), &sender);
            if byte % 2 == 1 {
                assert_eq!([received(&peer), received(&peer)], [vec![byte - 1; 9000], vec![byte; 9000]]);
            }
        }
    }

    #[test]
    fn a_response_that_cannot_be_sent_does_not_affect_others() {
        let ((sender, _), (peer, address), mut outbox) = (socket(), socket(), Outbox::new());
        let nowhere: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
        for to in [nowhere.into(), address.clone(), nowhere.into(), nowhere.into(), address] {
            outbox.room()[..2].copy_from_slice(b"hi");
            outbox.add(2, to, &sender);
        }
        outbox.send(&sender);
        assert_eq!([received(&peer), received(&peer)], [b"hi".to_vec(), b"hi".to_vec()]);
    }
}
