//! The region, zone and sub-zone of a workload.

use std::fmt;

use xds_proto::envoy::config::core::v3::Locality as Wire;

/// The locality of a workload, from the largest part to the smallest. Each part can be empty.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Locality {
    /// The region, for example `region1`.
    pub region: String,
    /// The zone, for example `zone1`.
    pub zone: String,
    /// The sub-zone, for example `rack1`.
    pub sub_zone: String,
}

impl From<&str> for Locality {
    /// Parses `region/zone/sub_zone`. The zone and the sub-zone are optional. Without a `/`, parts are separated by
    /// `.`, as in Istio's locality label.
    fn from(text: &str) -> Self {
        let separator = if text.contains('/') { '/' } else { '.' };
        let mut parts = text.splitn(3, separator).map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        Self { region: part(), zone: part(), sub_zone: part() }
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.region, &self.zone, &self.sub_zone];
        let known = parts.iter().take_while(|part| !part.is_empty());
        f.write_str(&known.map(|part| part.as_str()).collect::<Vec<_>>().join("/"))
    }
}

impl Locality {
    pub(crate) fn from_wire(wire: Wire) -> Self {
        Self { region: wire.region, zone: wire.zone, sub_zone: wire.sub_zone }
    }

    pub(crate) fn into_wire(self) -> Wire {
        Wire { region: self.region, zone: self.zone, sub_zone: self.sub_zone }
    }
}
