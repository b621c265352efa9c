//! SOCKS5 with the command `CONNECT`, with or without password authentication (RFC 1928, RFC 1929).

pub(super) mod wire;

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use self::wire::{Command, Parsed, REFUSED_METHODS, Reply};
use super::{BridgeState, USER, admission::Admission, own_listeners, tunnel, warnings::Reason};
use crate::{error::Error, stream::MeshStream, target::Target};

/// Serves a client that speaks SOCKS5.
pub(super) async fn serve(client: TcpStream, admission: Admission, state: &BridgeState) {
    let time_left = admission.time_left(state.settings.handshake_timeout);
    let mut session = Session { client, admission, read: Vec::new() };
    let negotiated = timeout(time_left, session.negotiate(state)).await;
    let Ok(Ok(Some(target))) = negotiated else {
        // The client has been rejected, has closed the connection, was too slow, or does not speak SOCKS5.
        return;
    };
    session.admission.authenticated(&state.slots).await;
    let opened = match tunnel::detects_protocol(state, &target).await {
        Ok(true) => session.accept_first(state, &target).await,
        Ok(false) => session.connect_first(state, &target).await,
        Err(error) => session.refuse(state, &target, &error).await,
    };
    if let Some(stream) = opened {
        tunnel::pass_on(session.client, stream, &session.read).await;
    }
}

struct Session {
    client: TcpStream,
    admission: Admission,
    /// The bytes that no message of the handshake has consumed yet.
    read: Vec<u8>,
}

impl Session {
    /// Returns the target that the client requests. `None` if the client was rejected.
    async fn negotiate(&mut self, state: &BridgeState) -> io::Result<Option<Target>> {
        let offered = self.read(wire::methods).await?;
        if offered.contains(&wire::PASSWORD) {
            self.client.write_all(&[wire::VERSION, wire::PASSWORD]).await?;
            let (user, password) = self.read(wire::credentials).await?;
            // Java's sockets offer both password authentication and no authentication, even if no password is
            // configured.
            let known = user == USER.as_bytes() && state.secret.is(&password)
                || offered.contains(&wire::NO_AUTHENTICATION) && !self.admission.needs_secret();
            self.client.write_all(&wire::credentials_answer(known)).await?;
            if !known {
                state.warnings.rejected(Reason::WrongPassword, self.admission.client());
                return Ok(None);
            }
        } else if offered.contains(&wire::NO_AUTHENTICATION) && !self.admission.needs_secret() {
            self.client.write_all(&[wire::VERSION, wire::NO_AUTHENTICATION]).await?;
        } else {
            state.warnings.rejected(Reason::AnotherProcess, self.admission.client());
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

    async fn connect_first(&mut self, state: &BridgeState, target: &Target) -> Option<MeshStream> {
        match tunnel::connect(state, target).await {
            Ok(stream) => self.answer(Reply::Succeeded).await.then_some(stream),
            Err(error) => self.refuse(state, target, &error).await,
        }
    }

    /// Accepts the client before connecting, because the first bytes of the client determine the protocol.
    async fn accept_first(&mut self, state: &BridgeState, target: &Target) -> Option<MeshStream> {
        if !self.answer(Reply::Succeeded).await {
            return None;
        }
        match tunnel::detected(&mut self.client, state, target, &mut self.read).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                tunnel::failed(&self.client, state, target, &error);
                None
            }
        }
    }

    async fn refuse(&mut self, state: &BridgeState, target: &Target, error: &Error) -> Option<MeshStream> {
        state.warnings.cannot_connect(target, error);
        let reply = if own_listeners::is_loop(error) { Reply::NotAllowed } else { Reply::from(error.kind()) };
        self.answer(reply).await;
        None
    }

    async fn answer(&mut self, reply: Reply) -> bool {
        self.client.write_all(&wire::reply(reply)).await.is_ok()
    }
}
