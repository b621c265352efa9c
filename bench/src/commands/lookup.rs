//! Names of the mesh looked up in the process.

use std::{collections::HashMap, hint::black_box, net::{IpAddr, Ipv4Addr}};

use foldhash::fast::RandomState;
use hickory_resolver::{
    Hosts, Resolver,
    config::{LookupIpStrategy, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
};
use mesh_resolver::{MeshResolver, Scope, Upstream};
use nds_client::{Health, NameTable, Publisher, SyncState};

use crate::{
    Failure,
    fixture::{NAMES, address, name, name_table, random_names},
    report::{Budget, Report},
    rounds::{interleaved, nanoseconds},
    unit::Unit,
};

pub(super) const ABOUT: &str = "names of the mesh, one over and over and random ones of 100 000";

const HOT: u32 = 4711;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    hot(report)?;
    random(report)
}

struct Mesh {
    resolver: MeshResolver,
    _names: Publisher<NameTable>,
    _health: Publisher<Health>,
}

fn mesh(names: u32) -> Result<Mesh, Failure> {
    let mut health = Health::default();
    health.sync = SyncState::Synced;
    let table = NameTable::decode(name_table(names).into())?;
    let (names, health) = (Publisher::new(table), Publisher::new(health));
    let scope = Scope::new("namespace-11", "svc.cluster.local");
    let resolver = MeshResolver::builder(names.watched(), health.watched(), scope);
    Ok(Mesh { resolver: resolver.with_upstream(Upstream::none()).build()?, _names: names, _health: health })
}

fn hot(report: &mut Report) -> Result<(), Failure> {
    let (runtime, mesh) = (tokio::runtime::Builder::new_current_thread().enable_all().build()?, mesh(10_000)?);
    let (hickory, name) = (hickory(10_000)?, name(HOT));
    if mesh.resolver.try_lookup(&name).is_none() || runtime.block_on(hickory.lookup_ip(&*name)).is_err() {
        return Err("the name is not found".into());
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
    let map: HashMap<Box<str>, IpAddr, RandomState> =
        (0..NAMES).map(|number| (name(number).into(), address(number).into())).collect();
    let names = random_names(NAMES);
    let (mut next, mut next_of_map) = (names.iter().cycle(), names.iter().cycle());
    let [ours, theirs] = interleaved(
        41,
        [
            Box::new(|| {
                nanoseconds(NAMES, || next.next().is_some_and(|name| mesh.resolver.try_lookup(name).is_some()))
            }),
            Box::new(|| {
                nanoseconds(NAMES, || next_of_map.next().and_then(|name| map.get(name).copied()))
            }),
        ],
    );
    report
        .row("a random name of 100 000", Unit::Nanoseconds, ours)
        .beside("a hash map of boxed strings", &theirs)
        .within(Budget::Ratio(1.0));
    Ok(())
}

/// hickory's own resolver, which finds the names in its hosts.
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
