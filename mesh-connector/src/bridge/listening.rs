//! An open loopback listener and its clients.

use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::Handle,
    task::{AbortHandle, JoinSet},
};

use super::{BridgeState, listen};

const BACKLOG: u32 = 1024;

/// An open listener, which a task serves. Dropping the value closes the listener and its connections.
#[derive(Debug)]
pub(super) struct Listening {
    address: SocketAddrV4,
    task: AbortHandle,
    clients: Arc<Clients>,
}

/// The number of connected clients, and the time at which the last client disconnected.
#[derive(Debug, Default)]
struct Clients(Mutex<(usize, Option<Instant>)>);

/// One connected client.
struct Connected(Arc<Clients>);

impl Listening {
    /// Opens a listener at `address` and serves its clients with `to`. The calling thread may be outside of the tokio
    /// runtime, because a DNS listener has its own thread.
    pub(super) fn open<F: Future<Output = ()> + Send + 'static>(
        address: SocketAddrV4,
        state: &Arc<BridgeState>,
        tasks: &Mutex<JoinSet<()>>,
        runtime: &Handle,
        to: impl Fn(TcpStream, Arc<BridgeState>) -> F + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let _runtime = runtime.enter();
        let listener = bind(address)?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        };
        let clients = Arc::<Clients>::default();
        let counted = clients.clone();
        let serve = move |client, state| {
            let connected = Connected::new(&counted);
            let served = to(client, state);
            async move {
                served.await;
                drop(connected);
            }
        };
        let mut tasks = tasks.lock();
        // `JoinSet` stores the results of ended tasks until they are taken.
        while tasks.try_join_next().is_some() {}
        let task = tasks.spawn_on(listen::serve(listener, state.clone(), serve), runtime);
        Ok(Self { address, task, clients })
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Returns whether the listener still accepts connections. It stops when the tokio runtime ends.
    pub(super) fn is_open(&self) -> bool {
        !self.task.is_finished()
    }

    /// Returns the time at which the listener last had a client: `now` if a client is connected. `None` if it never had
    /// one.
    pub(super) fn last_used(&self, now: Instant) -> Option<Instant> {
        match *self.clients.0.lock() {
            (0, last) => last,
            _ => Some(now),
        }
    }

    /// Returns a value without a socket. A task of the test takes the place of the listener.
    #[cfg(test)]
    pub(super) fn of_test(address: SocketAddrV4, task: AbortHandle) -> Self {
        Self { address, task, clients: Arc::default() }
    }

    #[cfg(test)]
    pub(super) fn client_connects(&self) -> impl Drop + use<> {
        Connected::new(&self.clients)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connected {
    fn new(clients: &Arc<Clients>) -> Self {
        clients.0.lock().0 += 1;
        Self(clients.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut clients = self.0.0.lock();
        *clients = (clients.0 - 1, Some(Instant::now()));
    }
}

/// Binds a listener whose address and port no other program can share. While it listens on a port of its address, no
/// other program can start to listen on the same port of all addresses (0.0.0.0 or [::]), and if one listens there
/// already, binding fails. `SO_REUSEADDR` only ignores connections in TIME_WAIT; `SO_REUSEPORT` would let other
/// programs of this user take connections.
fn bind(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    if address.port() != 0 {
        socket.set_reuseaddr(true)?;
    }
    socket.bind(address.into())?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(127, 99, 7, 1);

    /// Binds a socket in each way in which a program can share or take a port, and listens.
    fn listen_as_another(address: SocketAddr, reuse_port: bool) -> io::Result<socket2::Socket> {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(reuse_port)?;
        socket.bind(&address.into())?;
        socket.listen(1)?;
        Ok(socket)
    }

    const EVERYWHERE: [std::net::IpAddr; 2] =
        [std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

    #[tokio::test]
    async fn a_port_on_which_another_program_listens_cannot_be_bound() {
        for ip in EVERYWHERE.into_iter().chain([HERE.into()]) {
            for reuse_port in [false, true] {
                let other = listen_as_another((ip, 0).into(), reuse_port).unwrap();
                let port = other.local_addr().unwrap().as_socket().unwrap().port();
                let error = bind(SocketAddrV4::new(HERE, port)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{ip}, SO_REUSEPORT {reuse_port}");
            }
        }
    }

    #[tokio::test]
    async fn no_other_program_can_listen_on_a_bound_port() {
        let listener = bind(SocketAddrV4::new(HERE, 0)).unwrap();
        let bound = listener.local_addr().unwrap().port();
        drop(listener);
        // The port is now given, as the port of a service is.
        let _listener = bind(SocketAddrV4::new(HERE, bound)).unwrap();
        for ip in EVERYWHERE.into_iter().chain([HERE.into()]) {
            for reuse_port in [false, true] {
                let error = listen_as_another((ip, bound).into(), reuse_port).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{ip}, SO_REUSEPORT {reuse_port}");
            }
        }
    }
}
