//! Makes connections available as descriptors. The program gets one end of a socket pair, and the mesh's threads copy
//! bytes between the other end and the connection.

mod pair;
mod socket;

use std::{
    collections::HashMap,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mesh_connector::{
    ConnectionInfo, Error, MeshStream,
    bridge::{LocalSocket, relay},
};
use parking_lot::Mutex;
use tokio::{sync::watch, time::timeout};

use self::pair::Ends;
pub(crate) use self::{pair::Pair, socket::SocketId};
use crate::{failure::Failure, status::SIDESTEP_E_TIMEOUT};

/// The open connections. The key is the identity of the program's socket.
#[derive(Default)]
pub(crate) struct Connections {
    open: Mutex<HashMap<SocketId, (usize, ConnectionInfo)>>,
    opened: AtomicUsize,
    count: watch::Sender<usize>,
}

impl Connections {
    pub(crate) fn info(&self, socket: SocketId) -> Option<ConnectionInfo> {
        self.open.lock().get(&socket).map(|(_, info)| info.clone())
    }

    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Waits until no connection is open. Fails after `limit`; `None` waits without a limit.
    pub(crate) async fn ended(&self, limit: Option<Duration>) -> Result<(), Failure> {
        let mut count = self.count.subscribe();
        let none = count.wait_for(|open| *open == 0);
        let ended = match limit {
            Some(limit) => timeout(limit, none).await.is_ok(),
            None => none.await.is_ok(),
        };
        if ended {
            return Ok(());
        }
        let message = format!("{} connections are still open after {limit:?}", self.count());
        Err(Failure::new(SIDESTEP_E_TIMEOUT, message))
    }
}

/// An entry for an open connection in [`Connections`]. Dropping this value removes the entry.
struct Open {
    connections: Arc<Connections>,
    socket: SocketId,
    /// A number that distinguishes connections whose sockets have the same identity. On a system without socket
    /// cookies, a new socket can get the inode number of a closed one.
    number: usize,
}

impl Open {
    fn new(connections: Arc<Connections>, socket: SocketId, info: ConnectionInfo) -> Self {
        let number = connections.opened.fetch_add(1, Ordering::Relaxed);
        connections.open.lock().insert(socket, (number, info));
        connections.count.send_modify(|count| *count += 1);
        Self { connections, socket, number }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        if open.get(&self.socket).is_some_and(|(number, _)| *number == self.number) {
            open.remove(&self.socket);
        }
        drop(open);
        self.connections.count.send_modify(|count| *count -= 1);
    }
}

/// Waits for `connecting`, starts to copy bytes between the connection and a socket pair, and returns the program's end
/// of the pair. Must run on the mesh's threads.
pub(crate) async fn connect(
    connecting: impl Future<Output = Result<MeshStream, Error>>,
    pair: Pair,
    connections: &Arc<Connections>,
) -> Result<OwnedFd, Failure> {
    let mut connecting = pin!(connecting);
    let (stream, ends) = tokio::select! {
        biased;
        stream = &mut connecting => (stream?, pair.open()),
        // The socket pair is created while the connection attempt is in progress.
        ends = async { pair.open() } => (connecting.await?, ends),
    };
    let served = ends.and_then(|ends| match ends {
        Ends::Tcp(theirs, ours) => serve(theirs, ours, stream, connections),
        Ends::Unix(theirs, ours) => serve(theirs, ours, stream, connections),
    });
    served.map_err(|error| Failure::of_system("cannot create a descriptor for the connection", &error))
}

/// Starts to copy bytes between the library's end of the socket pair and the connection, and returns the program's end.
fn serve(
    theirs: OwnedFd,
    ours: impl LocalSocket + 'static,
    stream: MeshStream,
    connections: &Arc<Connections>,
) -> io::Result<OwnedFd> {
    let socket = SocketId::of(&theirs)?.ok_or(io::ErrorKind::InvalidInput)?;
    let connection = stream.connection().clone();
    let open = Open::new(connections.clone(), socket, connection.clone());
    tokio::spawn(async move {
        if let Err(error) = relay(ours, stream).await {
            tracing::debug!(%error, endpoint = connection.endpoint(), "a connection broke");
        }
        // The library's end of the socket pair and the connection are closed now.
        drop(open);
        tracing::debug!(endpoint = connection.endpoint(), "a connection ended");
    });
    Ok(theirs)
}

/// Returns the identity of the socket that a descriptor refers to, or `None` if the descriptor is not open or not a
/// socket.
pub(crate) fn socket(fd: i32) -> Option<SocketId> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the borrow lasts only for system calls, which fail for a descriptor that is not open.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    SocketId::of(fd).ok().flatten()
}
