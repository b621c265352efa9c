//! Parts of a [`Config`]: the address of istiod, the types of private keys, and the problems of a configuration.

mod address;
pub(crate) mod builder;
mod certificate_files;
mod env_file;
mod environment;
mod host;
mod key_type;
mod labels;
mod mesh_yaml;
mod overrides;
mod renewal;
pub(crate) mod settings;
mod sources;
mod values;

use std::time::Duration;

pub use self::{
    address::{InvalidServerAddress, ServerAddress},
    key_type::KeyType,
};
pub(crate) use self::{certificate_files::CertificateFiles, renewal::Renewal, settings::Config};
pub use crate::error::ConfigProblem;

/// The default time between the last use of endpoints and the end of their subscription.
const ENDPOINT_IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// The default maximum age of a snapshot that is used before istiod answers.
const SNAPSHOT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The default maximum size of a message of istiod. A mesh of 100,000 services needs less than half of it.
const MAX_PUSH_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests;
