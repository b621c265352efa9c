//! The keys of the settings with which a mesh is joined.

use std::{net::SocketAddr, str::FromStr};

use mesh_connector::nds_client::config::ServerAddress;

use crate::{failure::Failure, status::SIDESTEP_E_INVALID_ARGUMENT};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Key {
    ConnectTimeout,
    DnsClientUser,
    Env(String),
    Installed,
    IstiodAddress,
    IstiodName,
    JoinTimeout,
    Mtls,
    Namespace,
    OutboundTrafficPolicy,
    PlaintextToMeshNames,
    RootsFile,
    ServiceAccount,
    ShortNamesBeforeFirstTable,
    StateDir,
    Threads,
    TokenFile,
    UpstreamDns,
    VmFiles,
}

impl Key {
    const NAMES: [(&str, Self); 18] = [
        ("connect-timeout-ms", Self::ConnectTimeout),
        ("dns-client-user", Self::DnsClientUser),
        ("installed", Self::Installed),
        ("istiod-address", Self::IstiodAddress),
        ("istiod-name", Self::IstiodName),
        ("join-timeout-ms", Self::JoinTimeout),
        ("mtls", Self::Mtls),
        ("namespace", Self::Namespace),
        ("outbound-traffic-policy", Self::OutboundTrafficPolicy),
        ("plaintext-to-mesh-names", Self::PlaintextToMeshNames),
        ("roots-file", Self::RootsFile),
        ("service-account", Self::ServiceAccount),
        ("short-names-before-first-table", Self::ShortNamesBeforeFirstTable),
        ("state-dir", Self::StateDir),
        ("threads", Self::Threads),
        ("token-file", Self::TokenFile),
        ("upstream-dns", Self::UpstreamDns),
        ("vm-files", Self::VmFiles),
    ];

    /// Returns the key of the setting `name`. Fails if there is no such setting, or if `value` is invalid for it.
    pub(crate) fn checked(name: &str, value: &str) -> Result<Self, Failure> {
        let key = Self::named(name)?;
        let expected = match key {
            Self::ConnectTimeout | Self::JoinTimeout if !is::<u32>(value) => "milliseconds",
            Self::DnsClientUser if !is::<u32>(value) => "a user ID",
            Self::IstiodAddress if !is::<ServerAddress>(value) => "HOST:PORT",
            Self::Mtls if !["as-configured", "required"].contains(&value) => "`as-configured` or `required`",
            Self::OutboundTrafficPolicy if !["allow-any", "registry-only"].contains(&value) => {
                "`allow-any` or `registry-only`"
            }
            Self::PlaintextToMeshNames if !["refused", "allowed"].contains(&value) => {
                "`refused` or `allowed`"
            }
            Self::ShortNamesBeforeFirstTable if !["wait", "upstream"].contains(&value) => {
                "`wait` or `upstream`"
            }
            Self::Threads if !value.parse().is_ok_and(|threads| (1..=64).contains(&threads)) => "1 to 64",
            Self::UpstreamDns if !is::<SocketAddr>(value) => "IP:PORT",
            _ if value.is_empty() => "not empty",
            _ => return Ok(key),
        };
        let (value, name) = (value.escape_debug(), name.escape_debug());
        let message = format!("the value `{value}` of `{name}` must be {expected}");
        Err(Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message))
    }

    #[cfg(test)]
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(name, _)| *name)
    }

    fn named(name: &str) -> Result<Self, Failure> {
        if let Some(variable) = name.strip_prefix("env.").filter(|variable| !variable.is_empty()) {
            return Ok(Self::Env(variable.to_owned()));
        }
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, key)| key.clone()).ok_or_else(|| {
            let names: Vec<_> = Self::NAMES.iter().map(|(name, _)| *name).collect();
            let message = format!(
                "the setting `{}` does not exist; the settings are {}, env.NAME",
                name.escape_debug(),
                names.join(", ")
            );
            Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message)
        })
    }
}

fn is<T: FromStr>(value: &str) -> bool {
    value.parse::<T>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_exactly_the_keys_that_exist() {
        let documentation = include_str!("../settings.rs");
        let rows = documentation.lines().filter(|line| line.contains(" | "));
        let rows = rows.filter_map(|line| line.strip_prefix("/// `"));
        let documented: Vec<_> = rows.filter_map(|row| row.split_once('`')).map(|(key, _)| key).collect();
        let mut known: Vec<_> = Key::NAMES.iter().map(|(name, _)| *name).chain(["env.NAME"]).collect();
        let mut in_header = documented;
        known.sort_unstable();
        in_header.sort_unstable();
        assert_eq!(in_header, known);
    }

    #[test]
    fn the_error_for_an_invalid_value_names_the_valid_values() {
        for (key, value, expected) in [
            ("threads", "0", "1 to 64"),
            ("threads", "many", "1 to 64"),
            ("mtls", "yes", "`required`"),
            ("upstream-dns", "localhost", "IP:PORT"),
            ("join-timeout-ms", "-1", "milliseconds"),
            ("istiod-address", "a:b", "HOST:PORT"),
            ("outbound-traffic-policy", "refused", "`registry-only`"),
            ("dns-client-user", "systemd-resolve", "user ID"),
            ("plaintext-to-mesh-names", "yes", "`allowed`"),
            ("short-names-before-first-table", "", "`upstream`"),
            ("vm-files", "", "not empty"),
            ("vmfiles", "/", "vm-files"),
            ("env.A\rB", "", "`env.A\\rB`"),
            ("env.", "x", "env.NAME"),
        ] {
            let failure = Key::checked(key, value).unwrap_err();
            assert_eq!(failure.status, SIDESTEP_E_INVALID_ARGUMENT);
            assert!(failure.message.contains(expected), "{}", failure.message);
        }
    }
}
