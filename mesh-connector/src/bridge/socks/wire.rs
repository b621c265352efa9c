//! Parses and builds the messages of SOCKS5, without IO.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::error::ErrorKind;

pub(in crate::bridge) const VERSION: u8 = 5;
pub(in crate::bridge) const NO_AUTHENTICATION: u8 = 0;
pub(in crate::bridge) const PASSWORD: u8 = 2;
/// The reply "no acceptable methods" (RFC 1928 §3).
pub(in crate::bridge) const REFUSED_METHODS: [u8; 2] = [VERSION, 0xff];

/// The result of parsing the bytes that a client has sent so far.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::bridge) enum Parsed<T> {
    /// A message and its length in bytes.
    Done(T, usize),
    /// The bytes are the start of a valid message; more bytes are needed.
    Incomplete,
    /// The bytes are not the start of a valid message.
    Invalid,
}

/// The request of a client (RFC 1928 §4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::bridge) struct Request {
    pub(in crate::bridge) command: Command,
    pub(in crate::bridge) host: String,
    pub(in crate::bridge) port: u16,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bridge) enum Command {
    Connect,
    /// The commands `BIND` and `UDP ASSOCIATE`, which the bridge does not support.
    Other,
    UnknownAddress,
}

/// The codes of a reply (RFC 1928 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bridge) enum Reply {
    Succeeded = 0,
    Failed = 1,
    NotAllowed = 2,
    HostUnreachable = 4,
    ConnectionRefused = 5,
    TimedOut = 6,
    UnsupportedCommand = 7,
    UnsupportedAddress = 8,
}

/// Parses the authentication methods that a client offers (RFC 1928 §3).
pub(in crate::bridge) fn methods(bytes: &[u8]) -> Parsed<Vec<u8>> {
    match bytes {
        [VERSION, count, rest @ ..] => match rest.get(..usize::from(*count)) {
            Some(methods) => Parsed::Done(methods.to_vec(), 2 + methods.len()),
            None => Parsed::Incomplete,
        },
        [VERSION] | [] => Parsed::Incomplete,
        _ => Parsed::Invalid,
    }
}

/// Parses user and password (RFC 1929 §2).
pub(in crate::bridge) fn credentials(bytes: &[u8]) -> Parsed<(Vec<u8>, Vec<u8>)> {
    match bytes {
        [1, rest @ ..] => {
            let parsed = text(rest).and_then(|(user, rest)| Some((user, text(rest)?.0)));
            match parsed {
                Some((user, password)) => {
                    let length = 3 + user.len() + password.len();
                    Parsed::Done((user.to_vec(), password.to_vec()), length)
                }
                None => Parsed::Incomplete,
            }
        }
        [] => Parsed::Incomplete,
        _ => Parsed::Invalid,
    }
}

pub(in crate::bridge) fn credentials_answer(known: bool) -> [u8; 2] {
    [1, u8::from(!known)]
}

pub(in crate::bridge) fn request(bytes: &[u8]) -> Parsed<Request> {
    let [VERSION, command, 0, kind, rest @ ..] = bytes else {
        return beginning(bytes);
    };
    let address = match kind {
        1 => rest.first_chunk::<4>().map(|ip| (Ipv4Addr::from(*ip).to_string(), 4)),
        3 => text(rest).map(|(name, _)| (String::from_utf8_lossy(name).into_owned(), 1 + name.len())),
        4 => rest.first_chunk::<16>().map(|ip| (Ipv6Addr::from(*ip).to_string(), 16)),
        _ => {
            let request = Request { command: Command::UnknownAddress, host: String::new(), port: 0 };
            return Parsed::Done(request, bytes.len());
        }
    };
    let Some((host, length)) = address else {
        return Parsed::Incomplete;
    };
    let Some(port) = rest[length..].first_chunk::<2>() else {
        return Parsed::Incomplete;
    };
    let command = if *command == 1 { Command::Connect } else { Command::Other };
    Parsed::Done(Request { command, host, port: u16::from_be_bytes(*port) }, 4 + length + 2)
}

/// Returns `Incomplete` if the bytes can be the start of a request, otherwise `Invalid`.
fn beginning(bytes: &[u8]) -> Parsed<Request> {
    match bytes {
        [] | [VERSION] | [VERSION, _] | [VERSION, _, 0] => Parsed::Incomplete,
        _ => Parsed::Invalid,
    }
}

/// Builds a reply. Its bound address is unspecified, because clients of `CONNECT` do not use it.
pub(in crate::bridge) fn reply(reply: Reply) -> [u8; 10] {
    [VERSION, reply as u8, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// Splits off a string with a length prefix of one byte, and returns it with the rest. `None` if it is incomplete.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

impl From<ErrorKind> for Reply {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Dial => Self::ConnectionRefused,
            ErrorKind::PlaintextRefused | ErrorKind::PeerIdentity => Self::NotAllowed,
            ErrorKind::NoEndpoint
            | ErrorKind::Resolve
            | ErrorKind::UnknownHost
            | ErrorKind::UnknownPort
            | ErrorKind::UnknownSubset => Self::HostUnreachable,
            ErrorKind::Timeout => Self::TimedOut,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_by_name_by_ipv4_and_by_ipv6_is_read() {
        let by_name = b"\x05\x01\x00\x03\x08forecast\x0b\xba";
        let request = |host: &str| Request { command: Command::Connect, host: host.into(), port: 3002 };
        assert_eq!(super::request(by_name), Parsed::Done(request("forecast"), by_name.len()));
        let by_v4 = b"\x05\x01\x00\x01\x0a\x01\x00\x14\x0b\xba";
        assert_eq!(super::request(by_v4), Parsed::Done(request("10.1.0.20"), by_v4.len()));
        let mut by_v6 = b"\x05\x01\x00\x04".to_vec();
        by_v6.extend([0; 15]);
        by_v6.extend([1, 0x0b, 0xba]);
        assert_eq!(super::request(&by_v6), Parsed::Done(request("::1"), by_v6.len()));
    }

    #[test]
    fn an_unsupported_command_differs_from_invalid_bytes() {
        let bind = b"\x05\x02\x00\x01\x00\x00\x00\x00\x00\x01";
        assert!(matches!(request(bind), Parsed::Done(Request { command: Command::Other, .. }, 10)));
        let address = b"\x05\x01\x00\x09";
        assert!(matches!(
            request(address),
            Parsed::Done(Request { command: Command::UnknownAddress, .. }, 4)
        ));
        assert_eq!(methods(b"GET / HTTP/1.1"), Parsed::Invalid);
        assert_eq!(credentials(b"\x05"), Parsed::Invalid);
        assert_eq!(request(b"\x04\x01\x00\x01"), Parsed::Invalid);
    }

    proptest! {
        #[test]
        fn every_prefix_of_a_message_is_incomplete(host in "[a-z.]{1,255}", port: u16) {
            let mut bytes = vec![VERSION, 1, 0, 3, u8::try_from(host.len()).unwrap()];
            bytes.extend(host.as_bytes());
            bytes.extend(port.to_be_bytes());
            for end in 0..bytes.len() {
                prop_assert_eq!(request(&bytes[..end]), Parsed::Incomplete);
            }
            let whole = Request { command: Command::Connect, host, port };
            prop_assert_eq!(request(&bytes), Parsed::Done(whole, bytes.len()));
        }

        #[test]
        fn no_parsed_message_is_longer_than_its_input(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let lengths = [
                length(methods(&bytes)),
                length(credentials(&bytes)),
                length(request(&bytes)),
            ];
            prop_assert!(lengths.into_iter().flatten().all(|length| length <= bytes.len()));
        }
    }

    fn length<T>(parsed: Parsed<T>) -> Option<usize> {
        match parsed {
            Parsed::Done(_, length) => Some(length),
            Parsed::Incomplete | Parsed::Invalid => None,
        }
    }
}
