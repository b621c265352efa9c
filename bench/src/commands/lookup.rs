//! Lookups of mesh names in the process.

use std::{
    collections::HashMap,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
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
use prost::bytes::Bytes;

use crate::{
    Failure,
    fixture::{NAMES, address, name, name_table, name_table_but, random_names},
    report::{Budget, Report},
    rounds::{interleaved, nanoseconds},
    samples::Samples,
    unit::Unit,
};

pub(super) const ABOUT: &str = "lookups of mesh names: a hot name, and random names of 100 000";

const HOT: u32 = 4711;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    hot(report)?;
    random(report)?;
    pushed(report)
}

struct Mesh {
    resolver: MeshResolver,
    names: WatchSender<NameTable>,
    _health: WatchSender<Health>,
}

fn mesh(names: u32) -> Result<Mesh, Failure> {
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let table = NameTable::decode(&name_table(names))?;
    let (names, health) = (WatchSender::new(table), WatchSender::new(health));
    let scope = SearchScope::new("namespace-11", "svc.cluster.local");
    let resolver = MeshResolver::builder(names.subscribe(), health.subscribe(), scope);
    Ok(Mesh { resolver: resolver.with_upstream(Upstream::none()).build()?, names, _health: health })
}

fn hot(report: &mut Report) -> Result<(), Failure> {
    let (runtime, mesh) =
        (tokio::runtime::Builder::new_current_thread().enable_all().build()?, mesh(10_000)?);
    let (hickory, name) = (hickory(10_000)?, name(HOT));
    if mesh.resolver.try_lookup(&name).is_none() || runtime.block_on(hickory.lookup_ip(&*name)).is_err() {
        return Err("the name was not found".into());
    }
    let [ours, theirs] = interleaved(
        41,
        [
            Box::new(|| nanoseconds(100_000, || mesh.resolver.try_lookup(black_box(&name)).is_some())),
            Box::new(|| {
                nanoseconds(2_000, || runtime.block_on(hickory.lookup_ip(black_box(&*name))).is_ok())
            }),
        ],
    );
    report.row("a hot name", Unit::Nanoseconds, ours.clone()).within(Budget::Ours(40.0));
    report
        .row("a hot name of 10 000", Unit::Nanoseconds, ours)
        .beside("hickory-resolver, hosts in memory", &theirs)
        .within(Budget::Ratio(1.0 / 60.0));
    Ok(())
}

fn random(report: &mut Report) -> Result<(), Failure> {
    let mesh = mesh(NAMES)?;
    let map: HashMap<Box<str>, IpAddr> = entries().collect();
    let fast: HashMap<Box<str>, IpAddr, RandomState> = entries().collect();
    let names = random_names(NAMES);
    let table = mesh.names.load();
    let mut next_of_table = names.iter().cycle();
    let mut next = names.iter().cycle();
    let (mut next_of_map, mut next_of_fast) = (names.iter().cycle(), names.iter().cycle());
    let [of_table, ours, of_map, of_fast] = interleaved(
        41,
        [
            Box::new(|| {
                nanoseconds(NAMES, || {
                    let entry = next_of_table.next().and_then(|name| table.get(name));
                    entry.and_then(|entry| entry.ipv4().first().copied())
                })
            }),
            Box::new(|| {
                nanoseconds(NAMES, || {
                    next.next().is_some_and(|name| mesh.resolver.try_lookup(name).is_some())
                })
            }),
            Box::new(|| nanoseconds(NAMES, || next_of_map.next().and_then(|name| map.get(name).copied()))),
            Box::new(|| nanoseconds(NAMES, || next_of_fast.next().and_then(|name| fast.get(name).copied()))),
        ],
    );
    for (what, ours) in
        [("a random name of 100 000, only the name table", of_table), ("a random name of 100 000", ours)]
    {
        report
            .row(what, Unit::Nanoseconds, ours.clone())
            .beside("a hash map of boxed strings", &of_map)
            .within(Budget::Ratio(1.0));
        // A map that differs only in the hash function, for information without a budget.
        report.row(what, Unit::Nanoseconds, ours).beside("the same map with foldhash", &of_fast);
    }
    Ok(())
}

fn entries() -> impl Iterator<Item = (Box<str>, IpAddr)> {
    (0..NAMES).map(|number| (name(number).into(), address(number).into()))
}

/// Measures single lookups without pushes, and while 100 000 names are pushed each second.
fn pushed(report: &mut Report) -> Result<(), Failure> {
    const ROUND: Duration = Duration::from_secs(1);
    let (mesh, names) = (mesh(NAMES)?, random_names(NAMES));
    let wires = [name_table(NAMES), name_table_but(NAMES, Some(HOT))].map(Bytes::from);
    let p99 = || -> f64 {
        let end = Instant::now() + ROUND;
        let one = |name: &str| {
            let start = Instant::now();
            black_box(mesh.resolver.try_lookup(name).is_some());
            start.elapsed().as_secs_f64() * 1e9
        };
        let lookups = names.iter().cycle().map(|name| one(name));
        lookups.take_while(|_| Instant::now() < end).collect::<Samples>().quantile(0.99)
    };
    let mut next = wires.iter().cycle();
    let [quiet, pushed] = interleaved(
        7,
        [
            Box::new(p99),
            Box::new(|| {
                let wire = next.next().cloned().unwrap_or_default();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let table = NameTable::decode(&wire).ok();
                        if let Some(next) = table.and_then(|table| table.after(&mesh.names.load())) {
                            mesh.names.send(next);
                        }
                    });
                    p99()
                })
            }),
        ],
    );
    report
        .row("a random name, p99 while 100 000 are pushed each second", Unit::Nanoseconds, pushed)
        .beside("without pushes", &quiet)
        .within(Budget::Ratio(2.0));
    Ok(())
}

/// Creates a hickory resolver that finds the names in its hosts file.
fn hickory(names: u32) -> Result<Resolver<TokioRuntimeProvider>, Failure> {
    let hosts = (0..names).map(|number| format!("{} {}\n", address(number), name(number)));
    let mut parsed = Hosts::default();
    parsed.read_hosts_conf(hosts.collect::<String>().as_bytes())?;
    let config = ResolverConfig::from_name_servers(vec![NameServerConfig::udp(Ipv4Addr::LOCALHOST.into())]);
    let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4Only;
    let mut resolver = builder.build()?;
    resolver.set_hosts(parsed.into());
    Ok(resolver)
}
