//! The PROXY protocol header, which precedes all other bytes of a connection (HAProxy, "The PROXY protocol", versions 1
//! & 2).
//!
//! A sidecar sends the address of the application, and the address to which the application connected. This client
//! sends the addresses of the two ends of its own connection, because it is not a proxy between an application and the
//! endpoint.

use std::net::{IpAddr, SocketAddr};

use nds_client::resources::cluster::ProxyProtocol;

/// The signature of version 2 (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const V2_PROXY: u8 = 0x21;
/// The header byte for TCP over IPv4 (AF_INET, STREAM).
const TCP4: u8 = 0x11;
/// The header byte for TCP over IPv6 (AF_INET6, STREAM).
const TCP6: u8 = 0x21;

/// Returns the PROXY protocol header of a connection between these addresses.
pub(super) fn header(version: ProxyProtocol, client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let (client, server) = one_family(client, server);
    match version {
        ProxyProtocol::V2 => v2(client, server),
        _ => v1(client, server),
    }
}

fn v1(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), server.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port()).into_bytes()
}

fn v2(client: SocketAddr, server: SocketAddr) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let (family, length) = if client.is_ipv4() { (TCP4, 12_u16) } else { (TCP6, 36) };
    header.extend([V2_PROXY, family]);
    header.extend(length.to_be_bytes());
    for ip in [client.ip(), server.ip()] {
        match ip {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    header.extend(client.port().to_be_bytes());
    header.extend(server.port().to_be_bytes());
    header
}

/// Converts both addresses to IPv4 if possible, otherwise both to IPv6.
fn one_family(client: SocketAddr, server: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, server) = (plain(client), plain(server));
    if client.is_ipv4() == server.is_ipv4() {
        return (client, server);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(client), mapped(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_of(version: ProxyProtocol, client: &str, server: &str) -> Vec<u8> {
        header(version, client.parse().unwrap(), server.parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line() {
        let line = |client, server| String::from_utf8(header_of(ProxyProtocol::V1, client, server)).unwrap();
        assert_eq!(line("10.0.0.1:4000", "10.0.0.2:80"), "PROXY TCP4 10.0.0.1 10.0.0.2 4000 80\r\n");
        assert_eq!(line("[2001:db8::1]:4000", "[::1]:80"), "PROXY TCP6 2001:db8::1 ::1 4000 80\r\n");
        assert_eq!(line("[::ffff:10.0.0.1]:1", "10.0.0.2:2"), "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n");
    }

    #[test]
    fn version_2_is_binary() {
        let header = header_of(ProxyProtocol::V2, "10.0.0.1:4000", "10.0.0.2:80");
        assert_eq!(header[..12], SIGNATURE);
        assert_eq!(header[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(header[16..], [10, 0, 0, 1, 10, 0, 0, 2, 0x0f, 0xa0, 0, 80]);
        let header = header_of(ProxyProtocol::V2, "[::1]:1", "[::2]:2");
        assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!((header.len(), &header[48..]), (52, &[0, 1, 0, 2][..]));
    }
}
