//! Functions that weaken security, for debugging.

use std::sync::Arc;

pub use rustls::{KeyLog, KeyLogFile};

use crate::builder::MeshBuilder;

/// Logs the secrets of every TLS session. Anyone who has the log and the captured packets can decrypt the connections.
///
/// [`KeyLogFile`] writes to the file in the environment variable `SSLKEYLOGFILE`, in the format that Wireshark reads.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use mesh_connector::{Config, Mesh, danger};
///
/// let builder = Mesh::builder(Config::from_vm_files("/var/lib/sidestep")?);
/// let mesh = danger::log_keys(builder, Arc::new(danger::KeyLogFile::new())).join().await?;
/// # Ok(())
/// # }
/// ```
pub fn log_keys(builder: MeshBuilder, log: Arc<dyn KeyLog>) -> MeshBuilder {
    builder.with_key_log(log)
}
