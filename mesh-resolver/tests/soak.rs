//! Replaces the name table every second while upstream DNS is dead, for a minute or the number of seconds in
//! `SIDESTEP_SOAK`. Every mesh name must be answered all the time, and memory use must stay constant.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

#[path = "soak/growth.rs"]
mod growth;

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hickory_resolver::proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use mesh_resolver::{MeshResolver, SearchScope, Upstream, listener::DnsListener};
use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};
use prost::Message as _;
use tokio::{
    net::UdpSocket,
    task::JoinSet,
    time::{interval, timeout},
};
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

const NAMES: u32 = 10_000;

fn name(number: u32) -> String {
    format!("service-{number}.shop.svc.cluster.local")
}

/// Returns the address of a name in one generation of the table.
fn address(number: u32, generation: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number * 256 + generation % 256)
}

fn table(generation: u32) -> NameTable {
    let info = |number| NameInfo {
        ips: vec![address(number, generation).to_string()],
        registry: "Kubernetes".into(),
        shortname: format!("service-{number}"),
        namespace: "shop".into(),
        ..NameInfo::default()
    };
    let wire = Wire { table: (0..NAMES).map(|number| (name(number), info(number))).collect() };
    NameTable::decode(&wire.encode_to_vec()).unwrap()
}

/// The state that all tasks share.
struct Stage {
    resolver: MeshResolver,
    listener: SocketAddr,
    generation: AtomicU32,
    answered: AtomicU64,
}

impl Stage {
    /// Checks that the address belongs to this generation, or to the previous or next one, because the table may
    /// change between the reads.
    fn check(&self, number: u32, ip: IpAddr, before: u32) {
        let now = self.generation.load(Relaxed);
        let known = (before.saturating_sub(1)..=now + 1).any(|generation| ip == address(number, generation));
        assert!(known, "{ip} for {number} between {before} and {now}");
        self.answered.fetch_add(1, Relaxed);
    }

    async fn look_up(&self) {
        let (number, before) = (fastrand::u32(..NAMES), self.generation.load(Relaxed));
        let found = self.resolver.lookup_ip(&name(number)).await.unwrap();
        self.check(number, found.addresses()[0], before);
        let found = self.resolver.try_lookup(&format!("service-{number}.shop")).unwrap();
        self.check(number, found.first(), before);
    }

    async fn query(&self, socket: &UdpSocket) {
        let (number, before) = (fastrand::u32(..NAMES), self.generation.load(Relaxed));
        let answer = exchange(socket, &name(number)).await;
        self.check(number, answer.answers[0].data.ip_addr().unwrap(), before);
    }

    /// Looks up an unknown name that was not looked up before.
    async fn look_up_outside_the_mesh(&self) {
        let name = format!("n{}.example.org", fastrand::u64(..));
        assert!(self.resolver.lookup_ip(&name).await.is_err());
    }

    async fn query_outside_the_mesh(&self, socket: &UdpSocket) {
        let answer = exchange(socket, &format!("n{}.example.org", fastrand::u64(..))).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    }
}

async fn exchange(socket: &UdpSocket, name: &str) -> Message {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
    let mut packet = [0; 512];
    loop {
        socket.send(&message.to_vec().unwrap()).await.unwrap();
        // A datagram may be lost, and a response may be late.
        while let Ok(len) = timeout(Duration::from_secs(2), socket.recv(&mut packet)).await {
            let answer = Message::from_vec(&packet[..len.unwrap()]).unwrap();
            if answer.id == message.id {
                return answer;
            }
        }
    }
}

/// Returns the resident memory of this process in bytes.
fn resident() -> usize {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: run with --ignored"]
async fn memory_use_is_constant_while_tables_change_and_upstream_is_dead() {
    let seconds = env::var("SIDESTEP_SOAK").map_or(60, |text| text.parse().unwrap());
    // The server exists but never answers.
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let (names, health) = (WatchSender::new(table(0)), WatchSender::new(health));
    let upstream = Upstream::servers([dead.local_addr().unwrap()]).with_attempts(1);
    let scope = SearchScope::new("vms", "svc.cluster.local").with_search_domain("corp.example");
    let builder = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
    let resolver = builder.with_upstream(upstream.with_timeout(Duration::from_millis(100))).build().unwrap();
    let listener = DnsListener::builder(resolver.clone()).bind("127.0.0.1:0").start().unwrap();
    let (generation, answered) = (AtomicU32::new(0), AtomicU64::new(0));
    let stage = Arc::new(Stage { resolver, listener: listener.addresses()[0], generation, answered });
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (one, other) = (stage.clone(), stage.clone());
        tasks.spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(one.listener).await.unwrap();
            loop {
                one.look_up().await;
                one.query(&socket).await;
            }
        });
        tasks.spawn(async move {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(other.listener).await.unwrap();
            loop {
                tokio::join!(other.look_up_outside_the_mesh(), other.query_outside_the_mesh(&socket));
            }
        });
    }
    let (start, mut second) = (Instant::now(), interval(Duration::from_secs(1)));
    let mut memory = Vec::new();
    for generation in 1..=seconds {
        second.tick().await;
        names.send(table(generation));
        stage.generation.store(generation, Relaxed);
        memory.push(resident());
        assert!(tasks.try_join_next().is_none(), "a task failed: see its panic message above");
    }
    tasks.shutdown().await;
    assert!(start.elapsed() >= Duration::from_secs(u64::from(seconds) - 1));
    assert_eq!(growth::grown(&memory), None, "{memory:?}");
    assert!(stage.answered.load(Relaxed) > 1000, "mesh names were queried");
}
