//! The last resources of istiod in a file, used before istiod answers.
//!
//! The file starts with [`MAGIC`], whose last byte is the version, and ends with a CRC-32 of everything before. Between
//! them are the fields of one protobuf message: 1 the time of writing (Unix seconds, little-endian), 2 the owner, 3
//! each name (as in a `NameTable` message), 4 each cluster (`Cluster`), 5 the endpoints of each EDS name (the name and
//! a `ClusterLoadAssignment`), 6 present if the client was subscribed to clusters, 7 the trust domain of the owner.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    config::Config,
    duration::HumanDuration,
    protobuf::{Fields, put},
    resources::{
        cluster::{Clusters, Templates},
        endpoint::{self, Endpoints},
        name_table::{NameHasher, NameTable},
    },
    state::State,
};

const MAGIC: [u8; 9] = *b"sidestep\x01";
const CHECKSUM: usize = 4;

/// The contents of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) names: NameTable,
    /// The clusters; `None` if the client was not subscribed to them.
    pub(crate) clusters: Option<Clusters>,
    /// The endpoints by EDS name.
    pub(crate) endpoints: Vec<(Arc<str>, Endpoints)>,
    /// The time since the snapshot was written.
    pub(crate) age: Duration,
}

/// The values from which a snapshot is written.
pub(crate) struct Content<'a> {
    pub(crate) names: &'a NameTable,
    pub(crate) clusters: Option<&'a Clusters>,
    /// The endpoints by EDS name.
    pub(crate) endpoints: &'a [(Arc<str>, Arc<Endpoints>)],
}

/// The workload to which a snapshot belongs. istiod sends different resources to different workloads.
#[derive(Debug)]
pub(crate) struct Owner {
    workload: String,
    /// The trust domain; `None` if it is unknown.
    trust_domain: Option<String>,
}

impl Owner {
    /// Returns this workload as the owner of a snapshot. The trust domain is that of its certificate; without a
    /// certificate, the configured one.
    pub(crate) fn new(state: &State) -> Self {
        let Config { cluster_id, network, namespace, service_account, trust_domain, .. } =
            &state.runtime.config;
        let certified =
            state.identity.current().map(|identity| identity.spiffe_id().trust_domain().to_owned());
        Self {
            workload: format!(
                "{namespace}/{service_account} of cluster `{cluster_id}` on network `{network}`"
            ),
            trust_domain: certified.or_else(|| trust_domain.clone()),
        }
    }

    #[cfg(any(fuzzing, test))]
    pub(crate) fn named(workload: &str, trust_domain: Option<&str>) -> Self {
        Self { workload: workload.to_owned(), trust_domain: trust_domain.map(str::to_owned) }
    }
}

/// Writes a snapshot: calls `out` with one piece of the file after the other.
pub(crate) fn write(
    owner: &Owner,
    now: SystemTime,
    Content { names, clusters, endpoints }: Content<'_>,
    mut out: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<()> {
    const PIECE: usize = 64 * 1024;
    let mut checksum = crc32fast::Hasher::new();
    let mut piece = MAGIC.to_vec();
    let mut flush = |piece: &mut Vec<u8>, least: usize| -> std::io::Result<()> {
        if piece.len() < least {
            return Ok(());
        }
        checksum.update(piece);
        out(piece)?;
        piece.clear();
        Ok(())
    };
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    put(&mut piece, 1, &seconds.to_le_bytes());
    put(&mut piece, 2, owner.workload.as_bytes());
    if let Some(trust_domain) = &owner.trust_domain {
        put(&mut piece, 7, trust_domain.as_bytes());
    }
    for name in names.iter() {
        name.put(&mut piece, 3);
        flush(&mut piece, PIECE)?;
    }
    if let Some(clusters) = clusters {
        put(&mut piece, 6, &[]);
        for cluster in clusters.entries().filter_map(|entry| entry.to_wire()) {
            put(&mut piece, 4, &cluster);
            flush(&mut piece, PIECE)?;
        }
    }
    for (name, endpoints) in endpoints {
        let mut assignment = Vec::new();
        put(&mut assignment, 1, name.as_bytes());
        put(&mut assignment, 2, &endpoint::encode(endpoints).encode_to_vec());
        put(&mut piece, 5, &assignment);
        flush(&mut piece, PIECE)?;
    }
    flush(&mut piece, 0)?;
    out(&checksum.finalize().to_le_bytes())
}

/// Reads a snapshot that belongs to `owner` and is at most `longest` old. `hasher` is the hash function of its names.
///
/// # Errors
///
/// The reason why the file cannot be used, as a clause about the file.
pub(crate) fn read(
    file: &[u8],
    owner: &Owner,
    now: SystemTime,
    longest: Duration,
    hasher: NameHasher,
) -> Result<Snapshot, String> {
    let [name @ .., version] = MAGIC;
    let rest = file.strip_prefix(&name).ok_or("the file is not a snapshot")?;
    let (found, rest) = rest.split_first().ok_or("the file is truncated")?;
    if *found != version {
        return Err(format!("the file has version {found} instead of {version}"));
    }
    let (body, checksum) = rest.split_last_chunk::<CHECKSUM>().ok_or("the file is truncated")?;
    if crc32fast::hash(&file[..file.len() - CHECKSUM]) != u32::from_le_bytes(*checksum) {
        return Err("the file is damaged: the checksum is wrong".into());
    }
    // The checksum is correct: the following errors require a deliberately changed file.
    let mut snapshot = Snapshot::default();
    let mut templates = Templates::default();
    let mut clusters = Vec::new();
    let (mut has_clusters, mut is_dated, mut is_owned) = (false, false, false);
    for field in Fields(body) {
        match field.map_err(|malformed| format!("the file is damaged: {malformed}"))? {
            (1, seconds) => {
                let seconds = seconds
                    .try_into()
                    .map(u64::from_le_bytes)
                    .map_err(|_| "the file is damaged: the date is malformed")?;
                let written = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
                snapshot.age =
                    written.and_then(|written| now.duration_since(written).ok()).unwrap_or_default();
                if snapshot.age > longest {
                    let (age, longest) = (HumanDuration(snapshot.age), HumanDuration(longest));
                    return Err(format!("the file is {age} old; the maximum is {longest}"));
                }
                is_dated = true;
            }
            (2, found) if found == owner.workload.as_bytes() => is_owned = true,
            (2, found) => {
                let (found, this) = (String::from_utf8_lossy(found), &owner.workload);
                return Err(format!("the file belongs to {found}; this workload is {this}"));
            }
            (7, found) => {
                if let Some(this) = owner.trust_domain.as_ref().filter(|this| this.as_bytes() != found) {
                    let found = String::from_utf8_lossy(found);
                    return Err(format!(
                        "the file belongs to trust domain {found}; this workload is in {this}"
                    ));
                }
            }
            (4, cluster) => {
                let read = templates.read(Bytes::copy_from_slice(cluster));
                clusters
                    .extend(read.map_err(|error| format!("the file contains a damaged cluster: {error}"))?);
            }
            (5, assignment) => snapshot.endpoints.push(endpoints(assignment)?),
            (6, _) => has_clusters = true,
            _ => {}
        }
    }
    if !is_dated || !is_owned {
        return Err("the file is damaged: the date or the owner is missing".into());
    }
    snapshot.clusters = has_clusters.then(|| Clusters::default().changed(clusters, |_| true));
    snapshot.names = NameTable::from_fields(body, 3, hasher).map_err(|error| error.to_string())?;
    Ok(snapshot)
}

fn endpoints(assignment: &[u8]) -> Result<(Arc<str>, Endpoints), String> {
    let (mut name, mut endpoints) = ("", Endpoints::default());
    for field in Fields(assignment) {
        match field.map_err(|malformed| format!("the file is damaged: {malformed}"))? {
            (1, text) => name = std::str::from_utf8(text).map_err(|_| "a name in the file is not UTF-8")?,
            (2, wire) => {
                let wire = Bytes::copy_from_slice(wire);
                endpoints = Endpoints::from_wire(wire)
                    .map_err(|error| format!("the file contains damaged endpoints: {error}"))?;
            }
            _ => {}
        }
    }
    Ok((name.into(), endpoints))
}

/// Returns a snapshot file with the fields in `body` and a valid checksum.
#[cfg(any(fuzzing, test))]
pub(crate) fn signed(body: &[u8]) -> Vec<u8> {
    let file = [&MAGIC[..], body].concat();
    [&file[..], &crc32fast::hash(&file).to_le_bytes()].concat()
}

#[cfg(test)]
mod tests;
