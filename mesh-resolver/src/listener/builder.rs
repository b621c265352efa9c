//! The builder of a listener.

use std::{
    any::Any,
    fmt,
    io::{self, ErrorKind::AddrInUse},
    net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::Instant,
};

use sidestep_util::error::ErrorCore;
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    DEFAULT_ADDRESS, DnsListener, Limits,
    admission::Admission,
    connections::Connections,
    forward::Forwarder,
    rate_limit::RateLimiter,
    shared::{Counters, Recursion, Shared},
    tcp,
    udp::{self, UdpServer},
};
use crate::{
    error::{Error, ErrorKind},
    resolver::MeshResolver,
};

/// Builds a [`DnsListener`].
///
/// # Defaults
///
/// * Without an address and a socket, the listener uses [`DEFAULT_ADDRESS`].
/// * Only clients on this host may resolve names outside the mesh.
/// * Upstream queries run on the current tokio runtime.
#[must_use = "a builder does nothing until `start` is called"]
pub struct DnsListenerBuilder {
    resolver: MeshResolver,
    addresses: Vec<Result<SocketAddr, String>>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
    recursion: Recursion,
    limits: Limits,
    runtime: Option<Handle>,
    thread_setup: ThreadSetup,
}

/// A function that runs at the start of the thread that answers queries. The thread drops the returned value when it
/// ends.
type ThreadSetup = Box<dyn FnOnce() -> Box<dyn Any> + Send>;

impl DnsListenerBuilder {
    pub(super) fn new(resolver: MeshResolver) -> Self {
        Self {
            resolver,
            addresses: Vec::new(),
            udp: Vec::new(),
            tcp: Vec::new(),
            recursion: Arc::new(|peer| peer.is_loopback()),
            limits: Limits::default(),
            runtime: None,
            thread_setup: Box::new(|| Box::new(())),
        }
    }

    /// Adds a listen address for UDP and TCP. Port 0 selects a port that is free for both.
    ///
    /// On a host with several addresses, add each of them instead of the unspecified address: a UDP response from an
    /// unspecified address may have another source address than the one that was queried.
    pub fn bind(mut self, address: impl ToSocketAddrs + fmt::Debug) -> Self {
        match address.to_socket_addrs() {
            Ok(found) => self.addresses.extend(found.map(Ok)),
            Err(error) => self.addresses.push(Err(format!("{address:?} is not a listen address: {error}"))),
        }
        self
    }

    /// Adds a bound UDP socket, for example one with a privileged port or one inherited from a parent process.
    pub fn with_udp_socket(mut self, socket: UdpSocket) -> Self {
        self.udp.push(socket);
        self
    }

    /// Adds a listening TCP socket.
    pub fn with_tcp_listener(mut self, socket: TcpListener) -> Self {
        self.tcp.push(socket);
        self
    }

    /// Sets which clients may resolve names outside the mesh. Other clients get REFUSED for them.
    ///
    /// A server that resolves names for the whole internet can be misused for attacks.
    /// [`Limits::udp_rate_limit`] reduces the damage but does not prevent it.
    pub fn with_recursion_for(self, hosts: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self { recursion: Arc::new(hosts), ..self }
    }

    /// Sets the resource limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Sets the runtime for upstream queries. Its IO and time drivers must be enabled.
    pub fn with_runtime(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// Runs `thread_setup` at the start of the thread that answers queries. The thread drops the returned value when
    /// it ends. Use this to install a thread-local `tracing` subscriber or metrics recorder.
    pub fn with_thread_setup<T: 'static>(self, thread_setup: impl FnOnce() -> T + Send + 'static) -> Self {
        Self { thread_setup: Box::new(|| Box::new(thread_setup())), ..self }
    }

    /// Starts the listener.
    ///
    /// # Errors
    ///
    /// [`Listen`](ErrorKind::Listen): an address is not available, or no runtime is set and the function is called
    /// outside a tokio runtime.
    pub fn start(mut self) -> Result<DnsListener, Error> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => Handle::try_current().map_err(|error| {
                let message =
                    "a DNS listener needs a tokio runtime: call start inside one, or use with_runtime";
                Error::of_setup(listen(message).with_source(error))
            })?,
        };
        self.sockets()?;
        let ready = |socket: io::Result<()>| {
            socket.map_err(|error| {
                Error::of_setup(listen("a DNS socket cannot be configured").with_source(error))
            })
        };
        self.udp.iter().try_for_each(|socket| ready(socket.set_nonblocking(true)))?;
        self.tcp.iter().try_for_each(|socket| ready(socket.set_nonblocking(true)))?;
        let addresses = self.own_addresses();
        let forwarder = Forwarder { resolver: self.resolver };
        forwarder.resolver.inner().upstream.self_addresses().add(&addresses);
        let counters = Arc::new(Counters::new());
        let sockets = forwarder.resolver.inner().upstream.sockets().clone();
        let admission = Arc::new(Admission::new(self.limits.max_upstream_queries, sockets));
        let shared =
            Shared { forwarder, recursion: self.recursion, counters, admission, warnings: Arc::default() };
        let mut listener = DnsListener { addresses, shared, stop: None, thread: None, tasks: Vec::new() };
        listener.serve_tcp(self.tcp, &runtime, self.limits)?;
        listener.serve_udp(self.udp, &runtime, self.limits, self.thread_setup)?;
        Ok(listener)
    }

    /// Opens a UDP and a TCP socket at each address.
    fn sockets(&mut self) -> Result<(), Error> {
        if self.addresses.is_empty() && self.udp.is_empty() && self.tcp.is_empty() {
            self.addresses.push(Ok(DEFAULT_ADDRESS));
        }
        for address in self.addresses.drain(..) {
            let address = address.map_err(|message| Error::of_setup(listen(message)))?;
            let (udp, tcp) = bind_pair(address).map_err(|error| {
                let hint = match error.kind() {
                    AddrInUse => ": another program uses the address; choose another one",
                    io::ErrorKind::PermissionDenied => {
                        ": a port below 1024 requires CAP_NET_BIND_SERVICE; choose a higher port"
                    }
                    _ => "",
                };
                Error::of_setup(
                    listen(format!("the DNS listener cannot bind {address}{hint}")).with_source(error),
                )
            })?;
            self.udp.push(udp);
            self.tcp.push(tcp);
        }
        Ok(())
    }

    fn own_addresses(&self) -> Arc<[SocketAddr]> {
        let udp = self.udp.iter().filter_map(|socket| socket.local_addr().ok());
        let tcp = self.tcp.iter().filter_map(|socket| socket.local_addr().ok());
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in udp.chain(tcp) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.into()
    }
}

impl DnsListener {
    fn serve_tcp(
        &mut self,
        sockets: Vec<TcpListener>,
        runtime: &Handle,
        limits: Limits,
    ) -> Result<(), Error> {
        let _guard = runtime.enter();
        let connections = Arc::new(Connections::new(limits.max_tcp_connections));
        for socket in sockets {
            let socket = tokio::net::TcpListener::from_std(socket).map_err(|error| {
                Error::of_setup(listen("a DNS socket cannot be configured").with_source(error))
            })?;
            let task = runtime.spawn(tcp::serve(
                socket,
                self.shared.clone(),
                connections.clone(),
                limits.tcp_idle_timeout,
            ));
            self.tasks.push(task.abort_handle());
        }
        Ok(())
    }

    fn serve_udp(
        &mut self,
        sockets: Vec<UdpSocket>,
        runtime: &Handle,
        limits: Limits,
        thread_setup: ThreadSetup,
    ) -> Result<(), Error> {
        let (pending, queue) = mpsc::unbounded_channel();
        let no_thread = |error: io::Error| {
            Error::of_setup(listen("the thread of the DNS listener cannot be started").with_source(error))
        };
        let sockets = sockets.into_iter().map(|socket| {
            let address = socket.local_addr()?;
            Ok((Arc::new(socket), address))
        });
        let (stop, stopped) = UnixStream::pair().map_err(no_thread)?;
        let server = UdpServer {
            sockets: sockets.collect::<io::Result<_>>().map_err(no_thread)?,
            shared: self.shared.clone(),
            pending,
            rate: RateLimiter::new(limits.udp_rate_limit, Instant::now()),
            stop: stopped,
        };
        let thread = thread::Builder::new().name("mesh-dns".into());
        let run = move || {
            let _guard = thread_setup();
            server.run();
        };
        self.thread = Some(thread.spawn(run).map_err(no_thread)?);
        self.stop = Some(stop);
        let task = runtime.spawn(udp::forward_all(self.shared.clone(), queue));
        self.tasks.push(task.abort_handle());
        Ok(())
    }
}

/// Opens a UDP and a TCP socket at one address.
fn bind_pair(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    /// The maximum number of attempts to find a port that is free for UDP and TCP.
    const TRIES: usize = 16;
    let mut tried = 0;
    loop {
        tried += 1;
        let tcp = TcpListener::bind(address)?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return Ok((udp, tcp)),
            Err(error) if address.port() != 0 || tried == TRIES => return Err(error),
            Err(_) => {}
        }
    }
}

fn listen(message: impl Into<String>) -> ErrorCore<ErrorKind> {
    ErrorCore::new(ErrorKind::Listen, message)
}

impl fmt::Debug for DnsListenerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsListenerBuilder")
            .field("addresses", &self.addresses)
            .field("udp", &self.udp)
            .field("tcp", &self.tcp)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
