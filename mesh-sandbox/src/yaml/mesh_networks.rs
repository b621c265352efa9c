//! `meshNetworks.yaml`: networks that are not configured by labels (the MeshNetworks of istiod's ConfigMap).

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, de};

/// The networks in `meshNetworks.yaml`, by name.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeshNetworks {
    #[serde(default)]
    pub(crate) networks: BTreeMap<String, Network>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    #[serde(default)]
    pub(crate) endpoints: Vec<Members>,
    #[serde(default)]
    pub(crate) gateways: Vec<GatewayReference>,
}

/// Endpoints of a network: all endpoints of a cluster, or all endpoints in an address range.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Members {
    /// The cluster whose endpoints are all in the network. The text is empty if the configuration names an address
    /// range instead.
    #[serde(default)]
    pub(crate) from_registry: String,
    pub(crate) from_cidr: Option<Range>,
}

/// A gateway of a network, given by its address or by its service.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GatewayReference {
    #[serde(default)]
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) registry_service_name: String,
    pub(crate) port: u16,
}

/// An address range such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    address: IpAddr,
    pub(crate) length: u8,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
        (length <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, length })
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(u32::from(address)) << 96,
            IpAddr::V6(address) => u128::from(address),
        };
        let differing = bits(self.address) ^ bits(address);
        self.address.is_ipv4() == address.is_ipv4() && differing.leading_zeros() >= u32::from(self.length)
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not an address range such as 10.0.0.0/8")))
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn a_range_contains_the_addresses_with_its_prefix() {
        let range = Range::parse("10.20.0.0/16").unwrap();
        assert!(range.contains("10.20.255.1".parse().unwrap()));
        assert!(!range.contains("10.21.0.1".parse().unwrap()));
        assert!(!range.contains("fd00::1".parse().unwrap()));
        assert!(Range::parse("0.0.0.0/0").unwrap().contains("1.2.3.4".parse().unwrap()));
        assert!(Range::parse("10.0.0.0/33").is_none());
        assert!(Range::parse("fd00::/8").unwrap().contains("fd12::1".parse().unwrap()));
    }
}
