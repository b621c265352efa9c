//! A batch of responses that is sent with one system call (`sendmmsg`). The responses are written into one buffer,
//! each over its query.

use std::{net::UdpSocket, ops::Range};

use rustix::net::{SendFlags, SocketAddrAny, sendto};

use crate::dns::MAX_MESSAGE;

/// The maximum number of responses in a batch. A larger batch is not faster.
const MAX_RESPONSES: usize = 32;

/// The batch is sent when it exceeds this number of bytes.
const MAX_BYTES: usize = 16 * 1024;

pub(super) struct SendBatch {
    bytes: Box<[u8]>,
    responses: Vec<QueuedResponse>,
}

struct QueuedResponse {
    at: Range<usize>,
    peer: SocketAddrAny,
}

impl SendBatch {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; MAX_BYTES + MAX_MESSAGE].into(), responses: Vec::with_capacity(MAX_RESPONSES) }
    }

    fn end(&self) -> usize {
        self.responses.last().map_or(0, |response| response.at.end)
    }

    /// Returns the buffer for the next packet and its response.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        let end = self.end();
        &mut self.bytes[end..end + MAX_MESSAGE]
    }

    /// Adds the response in the first `len` bytes of the buffer. Sends the batch if it is full.
    pub(super) fn add(&mut self, len: usize, peer: SocketAddrAny, socket: &UdpSocket) {
        let start = self.end();
        self.responses.push(QueuedResponse { at: start..start + len, peer });
        if self.responses.len() == MAX_RESPONSES || self.end() > MAX_BYTES {
            self.send(socket);
        }
    }

    /// Sends the batch without blocking. A client that misses a response retries.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        match &*self.responses {
            [] => return,
            [only] => self.send_one(socket, only),
            all => self.send_all(socket, all),
        }
        self.responses.clear();
    }

    fn send_one(&self, socket: &UdpSocket, response: &QueuedResponse) {
        if let Err(error) =
            sendto(socket, &self.bytes[response.at.clone()], SendFlags::empty(), &response.peer)
        {
            tracing::debug!(peer = ?response.peer, %error, "a DNS response cannot be sent");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send_all(&self, socket: &UdpSocket, responses: &[QueuedResponse]) {
        responses.iter().for_each(|response| self.send_one(socket, response));
    }

    #[cfg(target_os = "linux")]
    fn send_all(&self, socket: &UdpSocket, mut responses: &[QueuedResponse]) {
        use std::io::IoSlice;

        use rustix::net::{MMsgHdr, SendAncillaryBuffer, sendmmsg};

        while !responses.is_empty() {
            let slices: Vec<_> =
                responses.iter().map(|response| [IoSlice::new(&self.bytes[response.at.clone()])]).collect();
            let mut nothing: [_; MAX_RESPONSES] = std::array::from_fn(|_| SendAncillaryBuffer::default());
            let parts = responses.iter().zip(&slices).zip(&mut nothing);
            let mut messages: Vec<_> = parts
                .map(|((response, slice), nothing)| MMsgHdr::new_with_addr(&response.peer, slice, nothing))
                .collect();
            // `sendmmsg` stops before the first message that cannot be sent, and fails if that is the first one.
            let sent = sendmmsg(socket, &mut messages, SendFlags::empty()).unwrap_or_else(|error| {
                tracing::debug!(peer = ?responses[0].peer, %error, "a DNS response cannot be sent");
                1
            });
            responses = responses.get(sent.max(1)..).unwrap_or_default();
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
        let ((sender, _), mut batch) = (socket(), SendBatch::new());
        let peers = [socket(), socket()];
        for count in [1, 2, MAX_RESPONSES, 3 * MAX_RESPONSES + 1] {
            for number in 0..count {
                let text = format!("answer {number}");
                batch.buffer()[..text.len()].copy_from_slice(text.as_bytes());
                batch.add(text.len(), peers[number % 2].1.clone(), &sender);
            }
            batch.send(&sender);
            for number in 0..count {
                assert_eq!(received(&peers[number % 2].0), format!("answer {number}").as_bytes());
            }
        }
    }

    #[test]
    fn a_batch_of_long_responses_is_sent_early() {
        let ((sender, _), (peer, address), mut batch) = (socket(), socket(), SendBatch::new());
        for byte in 0..8 {
            batch.buffer()[..9000].fill(byte);
            batch.add(9000, address.clone(), &sender);
            if byte % 2 == 1 {
                assert_eq!([received(&peer), received(&peer)], [vec![byte - 1; 9000], vec![byte; 9000]]);
            }
        }
    }

    #[test]
    fn a_response_that_cannot_be_sent_does_not_affect_others() {
        let ((sender, _), (peer, address), mut batch) = (socket(), socket(), SendBatch::new());
        let nowhere: SocketAddr = "[2001:db8::1]:53".parse().unwrap();
        for to in [nowhere.into(), address.clone(), nowhere.into(), nowhere.into(), address] {
            batch.buffer()[..2].copy_from_slice(b"hi");
            batch.add(2, to, &sender);
        }
        batch.send(&sender);
        assert_eq!([received(&peer), received(&peer)], [b"hi".to_vec(), b"hi".to_vec()]);
    }
}
