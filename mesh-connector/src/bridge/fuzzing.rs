//! The entry points of the fuzz targets. They check that arbitrary input causes no panic and no invalid output.
#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a panic is a finding of the fuzzer")]

use std::{convert::Infallible, time::Duration};

use http::{Method, Request, Response, header::PROXY_AUTHORIZATION};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    runtime::{Builder, Runtime},
};

use super::{
    http::{Destination, HOP_BY_HOP, authenticated, remove_hop_by_hop, tunnel_target},
    protocol_detection::{detect, protocol},
    secret::Secret,
    socks::wire::{self, Command, Parsed},
};
use crate::{http::ResponseBody, target::Target};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Sends the input to an HTTP server that treats each request as the proxy does, up to the connection to the service.
pub fn http(bytes: &[u8]) {
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request)) });
    runtime().block_on(async {
        let (mut client, server) = duplex(1 << 20);
        let serving = http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service)
            .with_upgrades();
        let sending = async {
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
            let _ = client.read_to_end(&mut Vec::new()).await;
        };
        let _ = tokio::join!(serving, sending);
    });
}

fn answer(request: Request<Incoming>) -> Response<ResponseBody> {
    let (parts, _) = request.into_parts();
    let mut headers = parts.headers;
    if authenticated(&headers, &Secret::fixed("0123")) {
        assert!(headers.contains_key(PROXY_AUTHORIZATION));
    }
    remove_hop_by_hop(&mut headers);
    assert!(HOP_BY_HOP.iter().all(|name| !headers.contains_key(name)));
    if parts.method == Method::CONNECT {
        assert!(!tunnel_target(&parts.uri).is_ok_and(|target| target.port() == 0));
    } else if let Ok(destination) = Destination::new(parts.uri) {
        let authority = destination.uri.authority().unwrap().as_str();
        assert!(!authority.contains('@') && destination.host == authority, "{authority}");
        assert_ne!(destination.target.port(), 0);
    }
    Response::new(ResponseBody::default())
}

/// Parses the messages of a SOCKS5 client one after another.
pub fn socks(bytes: &[u8]) {
    let Some(rest) = message(wire::methods, bytes) else { return };
    let rest = message(wire::credentials, rest).unwrap_or(rest);
    if let Parsed::Done(request, _) = wire::request(rest) {
        if request.command == Command::UnknownAddress {
            return;
        }
        message(wire::request, rest).unwrap();
        if let Ok(target) = Target::new(&request.host, request.port) {
            assert_eq!(target.port(), request.port);
        }
    }
}

/// Returns the bytes after a message. Each shorter input must be incomplete.
fn message<T: PartialEq>(parse: impl Fn(&[u8]) -> Parsed<T>, bytes: &[u8]) -> Option<&[u8]> {
    let Parsed::Done(message, length) = parse(bytes) else { return None };
    assert!(parse(&bytes[..length]) == Parsed::Done(message, length));
    assert!((0..length).all(|end| parse(&bytes[..end]) == Parsed::Incomplete));
    Some(&bytes[length..])
}

/// Detects the protocol of a client. The first decision must be final, and no byte may be lost.
pub fn detection(bytes: &[u8]) {
    let decided = (0..=bytes.len()).find_map(|end| protocol(&bytes[..end]));
    assert_eq!(decided, protocol(bytes));
    runtime().block_on(async {
        let (mut near, mut far) = duplex(1 << 16);
        let _ = far.write_all(bytes).await;
        drop(far);
        let mut read = Vec::new();
        detect(&mut near, &mut read, Duration::from_secs(60)).await;
        near.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, bytes);
    });
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn run_seeds(target: &str, run: fn(&[u8])) {
        let folder = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
        let seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            let bytes = fs::read(seed).unwrap();
            // Each start of a seed is an input, too.
            for end in 0..=bytes.len() {
                run(&bytes[..end]);
            }
        }
    }

    #[test]
    fn the_fuzz_targets_accept_every_start_of_their_seeds() {
        run_seeds("http", http);
        run_seeds("socks", socks);
        run_seeds("detection", detection);
    }
}
