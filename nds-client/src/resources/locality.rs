//! Where something runs.

use std::fmt;

use xds_proto::envoy::config::core::v3::Locality as Wire;

/// A place, from wide to narrow; each part may be empty.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub struct Locality {
    /// `region1`
    pub region: String,
    /// `zone1`
    pub zone: String,
    /// `rack1`
    pub sub_zone: String,
}

impl Locality {
    /// Reads `region/zone/sub_zone`, the last parts optional; `.` separates as well, as in Istio's locality label.
    #[must_use]
    pub fn parse(text: &str) -> Self {
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

impl From<Wire> for Locality {
    fn from(wire: Wire) -> Self {
        Self { region: wire.region, zone: wire.zone, sub_zone: wire.sub_zone }
    }
}

impl From<Locality> for Wire {
    fn from(locality: Locality) -> Self {
        Self { region: locality.region, zone: locality.zone, sub_zone: locality.sub_zone }
    }
}
