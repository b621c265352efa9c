//! What only a process of its own can show: that nothing is left behind, and what happens when descriptors run out.

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

const PATIENCE: Duration = Duration::from_secs(10);

/// Polls a future so many times, and drops it at the next wish to be polled.
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

/// Descriptors and tasks of this process.
fn held() -> (usize, usize) {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, Handle::current().metrics().num_alive_tasks())
}

/// Waits until no more is held than before.
async fn settled(before: (usize, usize)) {
    let back = async {
        while held().0 > before.0 || held().1 > before.1 {
            // polling: neither the kernel nor the runtime tells that a descriptor or a task is gone.
            tokio::task::yield_now().await;
        }
    };
    let back = tokio::time::timeout(PATIENCE, back).await;
    assert!(back.is_ok(), "left behind: {:?} are held, and were {before:?}", held());
}

/// Drops the future that `make` makes at each of its awaits in turn, until it gets to its end.
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
    panic!("{what} never ends");
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

/// One test, because all of it is about the process.
#[tokio::test]
async fn a_process_keeps_nothing_of_what_was_cancelled_and_survives_the_end_of_its_descriptors() {
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

    // The last handles go while connections are being made.
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
    // Connections of before may still be ending, and give descriptors back.
    let error = loop {
        while let Ok(file) = std::fs::File::open("/dev/null") {
            all.push(file);
        }
        if let Err(error) = mesh.connect("ledger.payments.example", 5432).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Dial, "{error}");
    // The bridge has no descriptor to accept this one with, or none to ask the kernel whose it is.
    all.pop();
    let mut waiting = TcpStream::connect(bridge.proxy_address()).await.unwrap();
    waiting.write_all(b"\x05\x01\x00").await.unwrap();
    drop(all);
    setrlimit(Resource::Nofile, limit).unwrap();
    let answer = tokio::time::timeout(PATIENCE, waiting.read_u8()).await;
    assert!(answer.is_ok(), "neither served nor refused");
    mesh.connect("ledger.payments.example", 5432).await.unwrap();
    assert_eq!(through_socks(bridge).await, 0);
}
