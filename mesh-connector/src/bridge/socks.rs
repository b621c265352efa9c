//! SOCKS5, as far as clients of TCP need it: `CONNECT`, with a user and password or without (RFC 1928, RFC 1929).

mod wire;

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use self::wire::{Command, Parsed, REFUSED_METHODS, Reply};
use super::{Shared, USER, client::Client as _, services, tunnel};
use crate::{error::Error, stream::MeshStream, target::Target};

/// Serves a client that has begun to speak SOCKS5.
pub(super) async fn serve(client: TcpStream, shared: &Shared) {
    let mut session = Session { client, read: Vec::new() };
    let negotiated = timeout(shared.settings.handshake_timeout, session.negotiate(shared)).await;
    let Ok(Ok(Some(target))) = negotiated else {
        // It was answered, it left, it was too slow, or it does not speak SOCKS5.
        return;
    };
    let opened = match services::detects_protocol(&shared.mesh, &target).await {
        Ok(true) => session.accept_first(shared, &target).await,
        Ok(false) => session.connect_first(shared, &target).await,
        Err(error) => session.refuse(&target, &error).await,
    };
    if let Some(stream) = opened {
        tunnel::pass_on(session.client, stream, &session.read).await;
    }
}

struct Session {
    client: TcpStream,
    /// Bytes that no part of the handshake has taken yet.
    read: Vec<u8>,
}

impl Session {
    /// Where the client wants to go. `None` where it has been refused.
    async fn negotiate(&mut self, shared: &Shared) -> io::Result<Option<Target>> {
        let offered = self.read(wire::methods).await?;
        if offered.contains(&wire::PASSWORD) {
            self.client.write_all(&[wire::VERSION, wire::PASSWORD]).await?;
            let (user, password) = self.read(wire::credentials).await?;
            // Java's sockets offer a password that nobody gave them, beside none.
            let known = user == USER.as_bytes() && shared.secret.is(&password)
                || offered.contains(&wire::NO_AUTHENTICATION) && self.client.admitted(&shared.gate).await;
            self.client.write_all(&wire::credentials_answer(known)).await?;
            if !known {
                tracing::warn!("the bridge refused a client with another password");
                return Ok(None);
            }
        } else if offered.contains(&wire::NO_AUTHENTICATION) && self.client.admitted(&shared.gate).await {
            self.client.write_all(&[wire::VERSION, wire::NO_AUTHENTICATION]).await?;
        } else {
            tracing::warn!("the bridge refused a client of another process, without a password");
            self.client.write_all(&REFUSED_METHODS).await?;
            return Ok(None);
        }
        let request = self.read(wire::request).await?;
        let refused = match request.command {
            Command::Connect => match Target::new(&request.host, request.port) {
                Ok(target) => return Ok(Some(target)),
                Err(_) => Reply::HostUnreachable,
            },
            Command::Other => Reply::UnsupportedCommand,
            Command::UnknownAddress => Reply::UnsupportedAddress,
        };
        self.client.write_all(&wire::reply(refused)).await?;
        Ok(None)
    }

    /// Reads one message of the handshake.
    async fn read<T>(&mut self, parse: impl Fn(&[u8]) -> Parsed<T>) -> io::Result<T> {
        loop {
            match parse(&self.read) {
                Parsed::Done(message, length) => {
                    self.read.drain(..length);
                    return Ok(message);
                }
                Parsed::Invalid => return Err(io::ErrorKind::InvalidData.into()),
                Parsed::Incomplete => {
                    if self.client.read_buf(&mut self.read).await? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    async fn connect_first(&mut self, shared: &Shared, target: &Target) -> Option<MeshStream> {
        match shared.mesh.connect_to(target).await {
            Ok(stream) => self.answer(Reply::Succeeded).await.then_some(stream),
            Err(error) => self.refuse(target, &error).await,
        }
    }

    /// The client has to speak before it is known how to connect.
    async fn accept_first(&mut self, shared: &Shared, target: &Target) -> Option<MeshStream> {
        if !self.answer(Reply::Succeeded).await {
            return None;
        }
        match tunnel::detected(&mut self.client, shared, target, &mut self.read).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tunnel::failed(&self.client, target, &error);
                None
            }
        }
    }

    async fn refuse(&mut self, target: &Target, error: &Error) -> Option<MeshStream> {
        tracing::warn!(%target, error = error.report(), "the bridge cannot connect a client");
        self.answer(Reply::from(error.kind())).await;
        None
    }

    async fn answer(&mut self, reply: Reply) -> bool {
        self.client.write_all(&wire::reply(reply)).await.is_ok()
    }
}
