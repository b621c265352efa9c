//! A push of the names of a large mesh, from the received bytes until lookups return the new data.

use std::{collections::HashMap, hint::black_box, net::IpAddr};

use nds_client::{resources::name_table::NameTable, watch::WatchSender};
use prost::{Message as _, bytes::Bytes};
use xds_proto::istio::networking::nds::v1::NameTable as Wire;

use crate::{
    Failure,
    fixture::{NAMES, name_table, name_table_but},
    process::thread_time,
    report::{Budget, Report},
    rounds::interleaved,
    unit::Unit,
};

pub(super) const ABOUT: &str = "100 000 names, from the received bytes until lookups return them";

type Map = HashMap<String, Vec<IpAddr>>;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let pushes = [name_table(NAMES), name_table_but(NAMES, Some(4711))];
    let (table, map) = (WatchSender::new(NameTable::default()), WatchSender::new(Map::new()));
    // Each push is in a separate buffer and differs from the previous one.
    let wires = || pushes.iter().cycle().map(|bytes| Bytes::from(bytes.clone()));
    let (mut next, mut next_of_map) = (wires(), wires());
    let settled = WatchSender::new(NameTable::decode(&pushes[0])?);
    let [ours, prost, identical] = interleaved(
        21,
        [
            Box::new(|| push(&table, next.next().unwrap_or_default())),
            Box::new(|| {
                let wire = next_of_map.next().unwrap_or_default();
                let start = thread_time();
                map.send(decode_to_map(wire));
                thread_time() - start
            }),
            Box::new(|| push(&settled, pushes[0].clone().into())),
        ],
    );
    if table.load().len() != map.load().len() {
        return Err("the two tables do not have the same names".into());
    }
    report
        .row("100 000 names, bytes to visible", Unit::Nanoseconds, ours)
        .beside("prost into a map", &prost)
        .within(Budget::Ratio(0.1));
    report.row("the same names again", Unit::Nanoseconds, identical).beside("prost into a map", &prost);
    Ok(())
}

/// Does the same as the client: decodes the table, compares it with the previous one, and publishes it if it differs.
fn push(table: &WatchSender<NameTable>, wire: Bytes) -> f64 {
    let start = thread_time();
    if let Some(next) = NameTable::decode(&wire).ok().and_then(|next| next.after(&table.load())) {
        table.send(next);
    }
    thread_time() - start
}

fn decode_to_map(wire: Bytes) -> Map {
    let Ok(decoded) = Wire::decode(wire) else { return Map::new() };
    let addresses = |ips: Vec<String>| ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    black_box(decoded.table.into_iter().map(|(name, info)| (name, addresses(info.ips))).collect())
}
