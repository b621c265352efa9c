//! A listener: a task that accepts connections and owns the tasks that serve them.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    BridgeState,
    access::Verdict,
    admission::Admission,
    client::{Client, Listener},
    local_socket::LocalSocket as _,
    tunnel,
    warnings::Reason,
};
use crate::target::Target;

/// The pause after a failed `accept`. It fails if the process or the host has no free descriptors or memory.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// The maximum number of connections of a listener that wait for a scan of the descriptors of this process. These
/// clients run as the user of this process. At the maximum, the listener accepts no further connection until the scan.
const MAX_UNDECIDED: usize = 64;

/// The clients that a listener serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Clients {
    /// Only clients that access control accepts.
    Accepted,
    /// Clients that access control accepts, and clients that authenticate with the secret of the bridge.
    Authenticated,
}

/// Accepts clients that access control accepts, and runs `handle` for each. Dropping the future closes the listener and
/// its connections.
pub(super) async fn serve<L, F>(
    listener: L,
    state: Arc<BridgeState>,
    handle: impl Fn(L::Client, Arc<BridgeState>) -> F + Send + Sync,
) where
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    let handle = |client, admission, state| {
        let served = handle(client, state);
        async move {
            served.await;
            drop::<Admission>(admission);
        }
    };
    accept(listener, state, Clients::Accepted, handle).await;
}

/// Accepts clients and runs `handle` for each. Dropping the future closes the listener and its connections.
pub(super) async fn accept<L, F>(
    listener: L,
    state: Arc<BridgeState>,
    clients: Clients,
    handle: impl Fn(L::Client, Admission, Arc<BridgeState>) -> F + Send + Sync,
) where
    L: Listener,
    F: Future<Output = ()> + Send + 'static,
{
    let _own = listener.address().map(|address| state.own_listeners.register(address));
    let mut acceptor = Acceptor {
        listener: &listener,
        state: &state,
        clients,
        handle: &handle,
        connections: JoinSet::new(),
        undecided: Vec::new(),
    };
    // A panic must not close the listener, because then no client could connect until the program is restarted.
    while AssertUnwindSafe(acceptor.run()).catch_unwind().await.is_err() {
        state.warnings.panicked("a listener");
        sleep(ACCEPT_RETRY_DELAY).await;
    }
}

/// The state of a listener.
struct Acceptor<'a, L: Listener, H> {
    listener: &'a L,
    state: &'a Arc<BridgeState>,
    clients: Clients,
    handle: &'a H,
    connections: JoinSet<()>,
    undecided: Vec<Undecided<L::Client>>,
}

/// A client that waits for a scan of the descriptors of this process.
struct Undecided<C> {
    client: C,
    accepted_at: Instant,
    check_at: Instant,
}

impl<L, H, F> Acceptor<'_, L, H>
where
    L: Listener,
    H: Fn(L::Client, Admission, Arc<BridgeState>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    async fn run(&mut self) -> Infallible {
        loop {
            let check_at = self.undecided.iter().map(|undecided| undecided.check_at).min();
            tokio::select! {
                accepted = self.listener.accept(), if self.undecided.len() < MAX_UNDECIDED => match accepted {
                    Ok(client) => self.check(client, Instant::now()).await,
                    Err(error) => {
                        self.state.warnings.cannot_accept(&error);
                        sleep(ACCEPT_RETRY_DELAY).await;
                    }
                },
                () = sleep_until(check_at.unwrap_or_else(Instant::now)), if check_at.is_some() => {
                    // The first check scans the descriptors. This scan also decides about all other clients that were
                    // accepted before it.
                    for Undecided { client, accepted_at, .. } in std::mem::take(&mut self.undecided) {
                        self.check(client, accepted_at).await;
                    }
                }
                Some(ended) = self.connections.join_next(), if !self.connections.is_empty() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        self.state.warnings.panicked("a connection");
                    }
                }
            }
        }
    }

    /// Checks a client before it gets a slot or a task. Waits for a slot only if access control accepts the client or
    /// if it runs as the user of this process. Further connections then wait in the listen queue of the kernel.
    async fn check(&mut self, client: L::Client, accepted_at: Instant) {
        let state = self.state;
        let verdict = client.check(&state.access_control, accepted_at);
        let admission = match (verdict, self.clients) {
            (Verdict::Later(check_at), _) => {
                self.undecided.push(Undecided { client, accepted_at, check_at });
                return;
            }
            (Verdict::Gone, _) => return,
            (Verdict::Accepted, _) | (Verdict::SameUser, Clients::Authenticated) => {
                Admission::with_slot(verdict, state.slots.acquire().await)
            }
            (Verdict::OtherUser(user), Clients::Authenticated) => match state.guests.admit(user) {
                Some(guest) => Admission::as_guest(verdict, guest, accepted_at),
                None => return self.reject(&client, Reason::TooManyGuests, verdict),
            },
            (Verdict::SameUser | Verdict::OtherUser(_), Clients::Accepted) => {
                return self.reject(&client, Reason::AnotherProcess, verdict);
            }
        };
        let served = (self.handle)(client, admission, state.clone());
        self.connections.spawn(served);
    }

    fn reject(&self, client: &L::Client, reason: Reason, verdict: Verdict) {
        self.state.warnings.rejected(reason, verdict);
        client.reset();
    }
}

/// Serves a client of a listener that forwards all its connections to `target`.
pub(super) async fn to<C: Client>(client: C, state: Arc<BridgeState>, target: Target) {
    tunnel::to(client, &state, &target).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mesh_resolver::Upstream;
    use mesh_sandbox::Sandbox;
    use nds_client::Config;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::mesh::Mesh;

    #[tokio::test]
    async fn after_a_panic_in_a_listener_or_in_a_connection_further_clients_are_served() {
        let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
        let vm = sandbox.vm_files("vms/edge-app").unwrap();
        let builder = Mesh::builder(Config::from_vm_files(vm.path()).unwrap());
        let mesh = builder.with_upstream(Upstream::none()).join().await.unwrap();
        let bridge = mesh.bridge().start().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = AtomicUsize::new(0);
        let handle = move |mut client: TcpStream, _state| {
            let number = clients.fetch_add(1, Ordering::Relaxed);
            assert_ne!(number, 0, "a panic of the listener");
            async move {
                assert_ne!(number, 1, "a panic of a connection");
                client.write_all(b"served").await.unwrap();
            }
        };
        let listening = tokio::spawn(serve(listener, bridge.state.clone(), handle));
        let mut answers = Vec::new();
        for _ in 0..3 {
            let mut answer = String::new();
            let mut client = TcpStream::connect(address).await.unwrap();
            let _ = client.read_to_string(&mut answer).await;
            answers.push(answer);
        }
        assert_eq!(answers, ["", "", "served"]);
        listening.abort();
    }
}
