//! Tests that need their own process: leaks of descriptors and tasks, and the exhaustion of descriptors.

#![expect(clippy::unwrap_used, reason = "a test harness")]
#![cfg(all(target_os = "linux", feature = "bridge"))]

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use mesh_connector::{Config, ErrorKind, Mesh, Upstream, bridge::Bridge};
use mesh_sandbox::Sandbox;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Handle,
};

const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Polls a future a number of times, and then completes without it.
struct Cut<'a, F> {
    future: Pin<&'a mut F>,
    polls: usize,
}

impl<F: Future> Future for Cut<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(cx).map(Some)
    }
}

/// Returns the number of descriptors and tasks of this process.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, Handle::current().metrics().num_alive_tasks())
}

/// Waits until the process has no more descriptors and tasks than before.
async fn settled(before: (usize, usize)) {
    let back = async {
        while held().0 > before.0 || held().1 > before.1 {
            // polling: neither the kernel nor the runtime notifies about closed descriptors and finished tasks.
            tokio::task::yield_now().await;
        }
    };
    let back = tokio::time::timeout(TIME_LIMIT, back).await;
    assert!(back.is_ok(), "leaked: {:?} descriptors and tasks, {before:?} before", held());
}

/// Creates the future repeatedly, and drops it at each of its await points in turn, until it completes.
async fn cancelled_everywhere<F: Future>(what: &str, make: impl Fn() -> F) {
    let before = held();
    for polls in 0..1000 {
        let ended = {
            let future = pin!(make());
            Cut { future, polls }.await.is_some()
        };
        if ended {
            return settled(before).await;
        }
    }
    panic!("{what} did not complete");
}

async fn through_socks(bridge: &Bridge) -> u8 {
    let mut client = TcpStream::connect(bridge.proxy_address()).await.unwrap();
    client.write_all(b"\x05\x01\x00\x05\x01\x00\x03\x17ledger.payments.example\x15\x38").await.unwrap();
    let mut answer = [0; 12];
    match client.read_exact(&mut answer).await {
        Ok(_) => answer[3],
        Err(_) => u8::MAX,
    }
}

/// This is a single test, because it counts the resources of the whole process.
#[tokio::test]
async fn cancelled_operations_leak_nothing_and_the_process_survives_without_free_descriptors() {
    let sandbox = Sandbox::builder().without_reload().start().await.unwrap();
    let vm = sandbox.vm_files("vms/edge-app").unwrap();
    let builder = || {
        let config = Config::from_vm_files(vm.path()).unwrap();
        Mesh::builder(config).with_upstream(Upstream::servers([sandbox.upstream_dns()]))
    };
    let empty = held();
    cancelled_everywhere("joining", || builder().join()).await;
    let mesh = builder().join().await.unwrap();
    mesh.connect("ledger.payments.example", 5432).await.unwrap();
    cancelled_everywhere("connecting", || mesh.connect("ledger.payments.example", 5432)).await;
    cancelled_everywhere("connecting outside", || mesh.connect("localhost", sandbox.istiod_address().port()))
        .await;
    let bridge = mesh.bridge().start().await.unwrap();
    assert_eq!(through_socks(&bridge).await, 0);
    cancelled_everywhere("a client of the bridge", || through_socks(&bridge)).await;

    without_descriptors(&mesh, &bridge).await;

    // The last handles are dropped during a connection attempt.
    let connector = mesh.connector();
    let busy = tokio::spawn(async move { connector.connect("ledger.payments.example", 5432).await.is_ok() });
    bridge.shutdown().await;
    drop(mesh);
    assert!(busy.await.unwrap());
    settled(empty).await;
}

async fn without_descriptors(mesh: &Mesh, bridge: &Bridge) {
    let limit = getrlimit(Resource::Nofile);
    let few = u64::try_from(held().0).unwrap() + 16;
    setrlimit(Resource::Nofile, Rlimit { current: Some(few), maximum: limit.maximum }).unwrap();
    let mut all = Vec::new();
    // Earlier connections may still be closing and release descriptors.
    let error = loop {
        while let Ok(file) = std::fs::File::open("/dev/null") {
            all.push(file);
        }
        if let Err(error) = mesh.connect("ledger.payments.example", 5432).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::LocalResource, "{error}");
    // The bridge has no descriptor to accept this connection, or to query its owner.
    all.pop();
    let mut waiting = TcpStream::connect(bridge.proxy_address()).await.unwrap();
    waiting.write_all(b"\x05\x01\x00").await.unwrap();
    drop(all);
    setrlimit(Resource::Nofile, limit).unwrap();
    let answer = tokio::time::timeout(TIME_LIMIT, waiting.read_u8()).await;
    assert!(answer.is_ok(), "neither served nor refused");
    mesh.connect("ledger.payments.example", 5432).await.unwrap();
    assert_eq!(through_socks(bridge).await, 0);
}
