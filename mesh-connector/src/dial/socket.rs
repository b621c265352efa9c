//! TCP connections to endpoints.

use std::{io, net::SocketAddr};

use nds_client::resources::cluster::TcpKeepalive;
use sidestep_util::{
    happy_eyeballs::{self, ATTEMPT_DELAY},
    local_error,
};
use socket2::SockRef;
use tokio::net::TcpStream;

/// The maximum number of addresses that one attempt uses. A name or an endpoint may have any number of them.
const MAX_ADDRESSES: usize = 32;

/// Connects to the addresses (Happy Eyeballs, RFC 8305) and returns the first connection that is established.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    keepalive: Option<TcpKeepalive>,
) -> io::Result<TcpStream> {
    let addresses = &addresses[..addresses.len().min(MAX_ADDRESSES)];
    let connected = happy_eyeballs::connect(addresses, ATTEMPT_DELAY, TcpStream::connect).await;
    let tcp = connected.map_err(most_informative)?;
    tcp.set_nodelay(true)?;
    keepalive.map_or(Ok(()), |keepalive| keep_alive(&tcp, keepalive))?;
    Ok(tcp)
}

/// Selects the error to report. This is the last error about an exhausted resource of this host. If there is none, it
/// is the last error that is not about this host, such as a missing IP family; failing that, the last error.
fn most_informative(mut errors: Vec<io::Error>) -> io::Error {
    let chosen = errors
        .iter()
        .rposition(local_error::is_exhausted)
        .or_else(|| errors.iter().rposition(|error| !local_error::is_local_resource(error)));
    let chosen = chosen.map(|at| errors.swap_remove(at)).or_else(|| errors.pop());
    chosen.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the endpoint has no IP address"))
}

/// Enables TCP keepalive. The system's defaults apply to parameters that the control plane does not set.
fn keep_alive(tcp: &TcpStream, wanted: TcpKeepalive) -> io::Result<()> {
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(time) = wanted.time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = wanted.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = wanted.probes {
        keepalive = keepalive.with_retries(probes);
    }
    SockRef::from(tcp).set_tcp_keepalive(&keepalive)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn an_address_of_a_missing_ip_family_does_not_hide_the_error_of_another_address() {
        const EMFILE: i32 = 24;
        const ADDRNOTAVAIL: i32 = 99;
        const CONNREFUSED: i32 = 111;
        let chosen = |errors: &[i32]| {
            let errors = errors.iter().map(|code| io::Error::from_raw_os_error(*code)).collect();
            most_informative(errors).raw_os_error()
        };
        assert_eq!(chosen(&[CONNREFUSED, ADDRNOTAVAIL]), Some(CONNREFUSED));
        assert_eq!(chosen(&[ADDRNOTAVAIL]), Some(ADDRNOTAVAIL));
        assert_eq!(chosen(&[EMFILE, CONNREFUSED]), Some(EMFILE));
        assert_eq!(most_informative(Vec::new()).kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn keepalive_follows_the_cluster_and_is_off_by_default() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut wanted = TcpKeepalive::default();
        let time = Duration::from_secs(77);
        (wanted.time, wanted.interval, wanted.probes) = (Some(time), Some(Duration::from_secs(7)), Some(3));
        let tcp = connect(&[address], Some(wanted)).await.unwrap();
        let socket = SockRef::from(&tcp);
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(
            (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap()),
            (time, Duration::from_secs(7))
        );
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        let tcp = connect(&[address], None).await.unwrap();
        assert!(!SockRef::from(&tcp).keepalive().unwrap());
    }
}
