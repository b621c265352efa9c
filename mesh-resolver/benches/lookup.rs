//! Measures lookups and compares them with alternatives: `cargo bench -p mesh-resolver --bench lookup`.
//!
//! Compare the ratios, not the absolute times. `bench/README.md` lists the optimisations that were tried.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::{
    collections::HashMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    str::FromStr as _,
};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use hickory_resolver::{
    Hosts, Resolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use mesh_resolver::{MeshResolver, SearchScope, Upstream};
use nds_client::{
    health::{Health, SyncState},
    resources::name_table::NameTable,
    watch::WatchSender,
};
use prost::Message as _;
use reqwest::dns::Resolve;
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

const NAMES: u32 = 100_000;
const HOT: &str = "service-4711.namespace-11.svc.cluster.local";

fn name(number: u32) -> String {
    format!("service-{number}.namespace-{}.svc.cluster.local", number % 100)
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

struct Mesh {
    resolver: MeshResolver,
    names: WatchSender<NameTable>,
    _health: WatchSender<Health>,
}

fn mesh(names: u32) -> Mesh {
    let info = |number| NameInfo {
        ips: vec![address(number).to_string()],
        registry: "Kubernetes".into(),
        shortname: format!("service-{number}"),
        namespace: format!("namespace-{}", number % 100),
        ..NameInfo::default()
    };
    let table = (0..names).map(|number| (name(number), info(number))).collect();
    let table = NameTable::decode(&Wire { table }.encode_to_vec()).unwrap();
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let (names, health) = (WatchSender::new(table), WatchSender::new(health));
    let scope = SearchScope::new("namespace-11", "svc.cluster.local").with_search_domain("corp.example");
    let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
    let resolver = resolver.with_upstream(Upstream::none()).build().unwrap();
    Mesh { resolver, names, _health: health }
}

/// Returns the names in random order, each in its own allocation.
fn random_names(count: u32) -> Vec<Box<str>> {
    let mut names: Vec<_> = (0..count).map(|number| name(number).into_boxed_str()).collect();
    fastrand::seed(1);
    fastrand::shuffle(&mut names);
    names
}

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mesh = mesh(10_000);
    let resolver = &mesh.resolver;
    group.bench_function("try_lookup", |bench| bench.iter(|| resolver.try_lookup(black_box(HOT))));
    group.bench_function("try_lookup_ip", |bench| bench.iter(|| resolver.try_lookup_ip(black_box(HOT))));
    group.bench_function("table.load", |bench| bench.iter(|| black_box(mesh.names.load()).len()));
    group.bench_function("table.get", |bench| {
        let table = mesh.names.load();
        bench.iter(|| table.get(black_box(HOT)).map(|entry| entry.ipv4()[0]));
    });
    for (label, name) in [
        ("short name", "service-4711.namespace-11"),
        ("own namespace", "service-4711"),
        ("search domain", "service-4711.namespace-11.corp.example"),
        ("unknown", "www.some-host.example.org"),
    ] {
        assert_eq!(resolver.try_lookup(name).is_none(), label == "unknown");
        group.bench_function(format!("try_lookup, {label}"), |bench| {
            bench.iter(|| resolver.try_lookup(black_box(name)));
        });
    }
    group.bench_function("lookup_ip", |bench| {
        // polling: an answer from the table is ready immediately, and a runtime would add its own cost.
        bench.iter(|| resolver.lookup_ip(black_box(HOT)).now_or_never().unwrap().unwrap());
    });
    let url_host = || reqwest::dns::Name::from_str(HOT).unwrap();
    group.bench_function("reqwest adapter", |bench| {
        bench.iter_batched(
            url_host,
            // polling: see above.
            |name| Resolve::resolve(resolver, name).now_or_never().unwrap().unwrap().count(),
            criterion::BatchSize::SmallInput,
        );
    });
    let hickory = hickory(10_000);
    group.bench_function("hickory, hosts in memory", |bench| {
        bench.iter(|| runtime.block_on(hickory.lookup_ip(black_box(HOT))).unwrap());
    });
    group.finish();
}

/// Returns hickory's resolver with the names in its `hosts` data.
fn hickory(names: u32) -> Resolver<TokioRuntimeProvider> {
    let hosts = (0..names).map(|number| format!("{} {}\n", address(number), name(number)));
    let mut parsed = Hosts::default();
    parsed.read_hosts_conf(hosts.collect::<String>().as_bytes()).unwrap();
    let config = ResolverConfig::from_name_servers(vec![NameServerConfig::udp(Ipv4Addr::LOCALHOST.into())]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4Only;
    let mut resolver = builder.build().unwrap();
    resolver.set_hosts(parsed.into());
    resolver
}

fn random(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("random of 100 000");
    let mesh = mesh(NAMES);
    let resolver = &mesh.resolver;
    let names = random_names(NAMES);
    let mut next = names.iter().cycle();
    group.bench_function("try_lookup", |bench| bench.iter(|| resolver.try_lookup(next.next().unwrap())));
    group.bench_function("table.get", |bench| {
        let table = mesh.names.load();
        bench.iter(|| table.get(next.next().unwrap()).map(|entry| entry.ipv4()[0]));
    });
    let map: HashMap<Box<str>, Vec<IpAddr>> = random_names(NAMES)
        .into_iter()
        .enumerate()
        .map(|(number, name)| (name, vec![address(u32::try_from(number).unwrap()).into()]))
        .collect();
    group.bench_function("std HashMap<Box<str>, Vec<IpAddr>>", |bench| {
        bench.iter(|| map.get(next.next().unwrap()).cloned());
    });
    let map: HashMap<Box<str>, IpAddr, foldhash::fast::RandomState> = random_names(NAMES)
        .into_iter()
        .enumerate()
        .map(|(number, name)| (name, address(u32::try_from(number).unwrap()).into()))
        .collect();
    group.bench_function("HashMap<Box<str>, IpAddr, foldhash>", |bench| {
        bench.iter(|| map.get(next.next().unwrap()).copied());
    });
    group.finish();
}

criterion_group!(benches, hot, random);
criterion_main!(benches);
