//! The cost of a push of names and of a lookup: `cargo bench -p nds-client --bench name_table`.
//!
//! Compare ratios, not absolute times. `cargo run --release -p mesh-bench -- push` and `-- lookup` compare in
//! interleaved rounds.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::{
    collections::HashMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use foldhash::fast::RandomState;
use nds_client::resources::name_table::NameTable;
use prost::{Message as _, bytes::Bytes};
use xds_proto::istio::networking::nds::v1::{NameTable as Wire, name_table::NameInfo};

const NAMES: u32 = 100_000;

fn name(number: u32) -> String {
    format!("service-{number}.namespace-{}.svc.cluster.local", number % 100)
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + number)
}

/// The names in the order of istiod.
fn wire() -> Bytes {
    let info = |number| NameInfo {
        ips: vec![address(number).to_string()],
        registry: "Kubernetes".into(),
        shortname: format!("service-{number}"),
        namespace: format!("namespace-{}", number % 100),
        ..NameInfo::default()
    };
    let mut sorted: Vec<_> = (0..NAMES).map(|number| (name(number), info(number))).collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    let part = |entry| Wire { table: [entry].into() }.encode_to_vec();
    sorted.into_iter().flat_map(part).collect::<Vec<_>>().into()
}

fn random_names() -> Vec<Box<str>> {
    let mut names: Vec<_> = (0..NAMES).map(|number| name(number).into_boxed_str()).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut names);
    names
}

fn push(criterion: &mut Criterion) {
    let wire = wire();
    let table = NameTable::decode(&wire).unwrap();
    let mut group = criterion.benchmark_group("push of 100 000 names");
    group.sample_size(20).throughput(Throughput::Bytes(wire.len() as u64));
    group.bench_function("decode", |bench| bench.iter(|| NameTable::decode(&wire).unwrap()));
    group.bench_function("compare with the table before", |bench| {
        let again = || NameTable::decode(&wire).unwrap();
        bench.iter_batched(again, |next| next.after(&table), BatchSize::LargeInput);
    });
    group.bench_function("prost into a map", |bench| {
        bench.iter(|| {
            let decoded = Wire::decode(wire.clone()).unwrap();
            let addresses = |ips: Vec<String>| ips.iter().filter_map(|ip| ip.parse().ok()).collect();
            let map: HashMap<String, Vec<IpAddr>> =
                decoded.table.into_iter().map(|(name, info)| (name, addresses(info.ips))).collect();
            map
        });
    });
    group.finish();
}

fn lookup(criterion: &mut Criterion) {
    let table = NameTable::decode(&wire()).unwrap();
    let map: HashMap<Box<str>, IpAddr, RandomState> =
        random_names().into_iter().zip((0..NAMES).map(|number| address(number).into())).collect();
    let (hot, names) = (name(4711), random_names());
    let mut next = names.iter().cycle();
    let mut group = criterion.benchmark_group("lookup of 100 000 names");
    group.bench_function("hot", |bench| {
        bench.iter(|| table.get(black_box(&hot)).map(|entry| entry.ipv4()[0]));
    });
    group.bench_function("hot, of a map", |bench| bench.iter(|| map.get(black_box(&*hot)).copied()));
    group.bench_function("random", |bench| {
        bench.iter(|| table.get(next.next().unwrap()).map(|entry| entry.ipv4()[0]));
    });
    group.bench_function("random, of a map", |bench| {
        bench.iter(|| map.get(next.next().unwrap()).copied());
    });
    group.finish();
}

criterion_group!(benches, push, lookup);
criterion_main!(benches);
