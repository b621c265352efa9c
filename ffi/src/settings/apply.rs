//! The conversion of settings to a mesh configuration.

use std::{net::SocketAddr, time::Duration};

use mesh_connector::{
    Config, Mesh, MeshBuilder, Mtls, OutboundTrafficPolicy, Upstream,
    nds_client::{self, ConfigBuilder, config::ServerAddress},
};

use super::{Key, Settings};
use crate::{
    failure::Failure,
    log::LogCallback,
    status::{SIDESTEP_E_CONFIG, SIDESTEP_E_INVALID_ARGUMENT},
};

/// The builder of the mesh, the number of threads, the log callback and the users of a DNS server, as the settings
/// define them.
pub(crate) struct Joining {
    pub(crate) mesh: MeshBuilder,
    /// The users, other than that of the process, whose DNS queries a DNS server with a bridge answers with loopback
    /// addresses.
    pub(crate) dns_client_users: Vec<u32>,
    pub(crate) threads: usize,
    pub(crate) log: Option<LogCallback>,
}

impl Joining {
    /// Applies the settings, and reads the files that they name.
    pub(crate) fn read(settings: &Settings) -> Result<Self, Failure> {
        let chosen = settings.chosen.lock().clone();
        let sources = chosen.iter().fold(Config::builder(), source);
        let builder = chosen.iter().try_fold(sources, setting)?;
        let config = builder.build().map_err(|error| unusable(&error))?;
        let mesh = Mesh::builder(config).with_upstream(upstream(&chosen)?);
        let (dns_client_users, log) = (Vec::new(), *settings.log.lock());
        let mut joining = Self { mesh, dns_client_users, threads: 1, log };
        for (key, value) in &chosen {
            joining = joining.with(key, value)?;
        }
        Ok(joining)
    }

    fn with(mut self, key: &Key, value: &str) -> Result<Self, Failure> {
        match key {
            Key::ConnectTimeout => self.mesh = self.mesh.with_connect_deadline(milliseconds(value)?),
            Key::Mtls if value == "required" => self.mesh = self.mesh.with_mtls(Mtls::Required),
            Key::Mtls => self.mesh = self.mesh.with_mtls(Mtls::AsConfigured),
            Key::OutboundTrafficPolicy if value == "registry-only" => {
                self.mesh = self.mesh.with_outbound_traffic_policy(OutboundTrafficPolicy::RegistryOnly)
            }
            Key::OutboundTrafficPolicy => {
                self.mesh = self.mesh.with_outbound_traffic_policy(OutboundTrafficPolicy::AllowAny)
            }
            Key::DnsClientUser => self.dns_client_users.push(parsed(value)?),
            Key::PlaintextToMeshNames => {
                self.mesh = self.mesh.with_plaintext_to_mesh_names(value == "allowed");
            }
            Key::Threads => self.threads = parsed(value)?,
            _ => {}
        }
        Ok(self)
    }
}

fn upstream(chosen: &[(Key, String)]) -> Result<Upstream, Failure> {
    let mut upstream = Upstream::system();
    let mut sends_short_names = false;
    for (key, value) in chosen {
        match key {
            Key::ShortNamesBeforeFirstTable => sends_short_names = value == "upstream",
            Key::UpstreamDns => upstream = Upstream::servers([parsed::<SocketAddr>(value)?]),
            _ => {}
        }
    }
    Ok(upstream.with_short_names_before_first_table(sends_short_names))
}

fn source(builder: ConfigBuilder, (key, value): &(Key, String)) -> ConfigBuilder {
    match key {
        Key::Env(name) => builder.with_env([(name, value)]),
        Key::Installed => builder.with_installed(value),
        Key::Namespace => builder.with_namespace(value),
        Key::RootsFile => builder.with_roots_file(value),
        Key::ServiceAccount => builder.with_service_account(value),
        Key::TokenFile => builder.with_token_file(value),
        Key::VmFiles => builder.with_vm_files(value),
        _ => builder,
    }
}

fn setting(config: ConfigBuilder, (key, value): &(Key, String)) -> Result<ConfigBuilder, Failure> {
    Ok(match key {
        Key::IstiodAddress => config.with_istiod_address(parsed::<ServerAddress>(value)?),
        Key::IstiodName => config.with_istiod_name(value),
        Key::JoinTimeout => config.with_join_timeout(milliseconds(value)?),
        Key::StateDir => config.with_state_dir(value),
        _ => config,
    })
}

fn milliseconds(value: &str) -> Result<Duration, Failure> {
    parsed::<u32>(value).map(|number| Duration::from_millis(number.into()))
}

/// Parses the value of a setting. `Key::checked` has checked the value before, so parsing does not fail.
fn parsed<T: std::str::FromStr>(value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| {
        let message = format!("the value `{}` of a setting is invalid", value.escape_debug());
        Failure::new(SIDESTEP_E_INVALID_ARGUMENT, message)
    })
}

fn unusable(error: &nds_client::Error) -> Failure {
    Failure::new(SIDESTEP_E_CONFIG, error.report())
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    /// The names of keys, and values of all of their types. The files do not exist, so nothing is read.
    fn setting() -> impl Strategy<Value = (String, String)> {
        let names: Vec<_> =
            Key::names().chain(["env.POD_NAMESPACE", "env.", "env.A=B", "", "vmfiles"]).collect();
        let values = vec![
            "",
            "0",
            "1",
            "64",
            "65",
            "-1",
            "4294967295",
            "4294967296",
            "1e3",
            "+1",
            " 1",
            "required",
            "as-configured",
            "allow-any",
            "registry-only",
            "refused",
            "allowed",
            "wait",
            "upstream",
            "127.0.0.1:53",
            "[::1]:53",
            "a:15012",
            "a:0",
            "[::1",
            "/nonexistent",
            "../nonexistent",
        ];
        let value =
            prop_oneof![select(values).prop_map(str::to_owned), any::<String>().prop_map(below_nothing)];
        (prop_oneof![select(names).prop_map(str::to_owned), any::<String>()], value)
    }

    /// Makes a text a path below a directory that does not exist.
    fn below_nothing(text: String) -> String {
        format!("/nonexistent/{text}")
    }

    proptest! {
        #[test]
        fn a_setting_that_was_accepted_is_not_an_invalid_argument_later(all in prop::collection::vec(setting(), 0..8)) {
            let settings = Settings::default();
            for (name, value) in all {
                match Key::checked(&name, &value) {
                    Ok(key) => settings.chosen.lock().push((key, value)),
                    Err(failure) => prop_assert_eq!(failure.status, SIDESTEP_E_INVALID_ARGUMENT),
                }
            }
            match Joining::read(&settings) {
                Ok(joining) => prop_assert!((1..=64).contains(&joining.threads)),
                Err(failure) => prop_assert_eq!(failure.status, SIDESTEP_E_CONFIG, "{}", failure.message),
            }
        }
    }
}
