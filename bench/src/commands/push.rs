//! A push of a large mesh's names, from the bytes of the wire until lookups see it.

use std::{collections::HashMap, hint::black_box, net::IpAddr, time::Instant};

use nds_client::{NameTable, Publisher};
use prost::{Message as _, bytes::Bytes};
use xds_proto::istio::networking::nds::v1::NameTable as Wire;

use crate::{
    Failure,
    fixture::{NAMES, name_table},
    report::{Budget, Report},
    rounds::interleaved,
    unit::Unit,
};

pub(super) const ABOUT: &str = "100 000 names, from the bytes of the wire until lookups see them";

type Map = HashMap<String, Vec<IpAddr>>;

pub(super) fn run(report: &mut Report) -> Result<(), Failure> {
    let bytes = name_table(NAMES);
    let (table, map) = (Publisher::new(NameTable::default()), Publisher::new(Map::new()));
    // Each push arrives in a buffer of its own.
    let [ours, prost] = interleaved(
        15,
        [
            Box::new(|| {
                let wire = Bytes::from(bytes.clone());
                let start = Instant::now();
                table.publish(NameTable::decode(wire).unwrap_or_default().into());
                nanoseconds(start)
            }),
            Box::new(|| {
                let wire = Bytes::from(bytes.clone());
                let start = Instant::now();
                map.publish(decode_to_map(wire).into());
                nanoseconds(start)
            }),
        ],
    );
    if table.load().len() != map.load().len() {
        return Err("the two tables do not have the same names".into());
    }
    report
        .row("100 000 names, bytes to visible", Unit::Nanoseconds, ours)
        .beside("prost into a map", &prost)
        .within(Budget::Ratio(0.1));
    Ok(())
}

fn nanoseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e9
}

fn decode_to_map(wire: Bytes) -> Map {
    let Ok(decoded) = Wire::decode(wire) else { return Map::new() };
    let addresses = |ips: Vec<String>| ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    black_box(decoded.table.into_iter().map(|(name, info)| (name, addresses(info.ips))).collect())
}
