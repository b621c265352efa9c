//! What istiod last said, as a file: it answers before istiod does.
//!
//! The file begins with [`MAGIC`], whose last byte is the version, and ends with a CRC-32 of everything before. Between
//! them are the fields of one protobuf message: 1 when it was written (seconds of Unix time, little-endian), 2 whose it
//! is, 3 each name (as in a `NameTable` message), 4 each cluster (`Cluster`), 5 each assignment of endpoints (an EDS name
//! and a `ClusterLoadAssignment`), 6 stands where clusters were asked for, 7 is the owner's trust domain.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    config::Config,
    duration::Rough,
    protobuf::{Fields, put},
    resources::{
        cluster::{Clusters, Templates},
        endpoint::{self, Endpoints},
        name_table::NameTable,
    },
    state::State,
};

const MAGIC: [u8; 9] = *b"sidestep\x01";
const CHECKSUM: usize = 4;

/// Everything that a snapshot holds.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) names: NameTable,
    /// `None` where nobody has asked for them.
    pub(crate) clusters: Option<Clusters>,
    /// By EDS name.
    pub(crate) endpoints: Vec<(Arc<str>, Endpoints)>,
    /// How old it is.
    pub(crate) age: Duration,
}

/// What a snapshot is made of.
pub(crate) struct Content<'a> {
    pub(crate) names: &'a NameTable,
    pub(crate) clusters: Option<&'a Clusters>,
    /// By EDS name.
    pub(crate) endpoints: &'a [(Arc<str>, Arc<Endpoints>)],
}

/// Whose the snapshot is: what istiod says is for this workload alone.
#[derive(Debug)]
pub(crate) struct Owner {
    workload: String,
    /// `None` where it is not known.
    trust_domain: Option<String>,
}

impl Owner {
    /// This workload. Its trust domain is that of its certificate, else the configured one.
    pub(crate) fn of(state: &State) -> Self {
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

/// The file, in pieces.
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

/// Reads a file.
///
/// # Errors
///
/// Why it is of no use, to be read after its name.
pub(crate) fn read(
    file: &[u8],
    owner: &Owner,
    now: SystemTime,
    longest: Duration,
) -> Result<Snapshot, String> {
    let [name @ .., version] = MAGIC;
    let rest = file.strip_prefix(&name).ok_or("is no snapshot")?;
    let (found, rest) = rest.split_first().ok_or("is cut short")?;
    if *found != version {
        return Err(format!("is of version {found}, not {version}"));
    }
    let (body, checksum) = rest.split_last_chunk::<CHECKSUM>().ok_or("is cut short")?;
    if crc32fast::hash(&file[..file.len() - CHECKSUM]) != u32::from_le_bytes(*checksum) {
        return Err("is damaged: its checksum is another".into());
    }
    // From here on everything is as it was written, unless somebody means ill.
    let mut snapshot = Snapshot::default();
    let mut templates = Templates::default();
    let mut clusters = Vec::new();
    let (mut has_clusters, mut is_dated, mut is_owned) = (false, false, false);
    for field in Fields(body) {
        match field.map_err(|malformed| format!("is damaged: {malformed}"))? {
            (1, seconds) => {
                let seconds =
                    seconds.try_into().map(u64::from_le_bytes).map_err(|_| "is damaged: no date")?;
                let written = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
                snapshot.age =
                    written.and_then(|written| now.duration_since(written).ok()).unwrap_or_default();
                if snapshot.age > longest {
                    let (age, longest) = (Rough(snapshot.age), Rough(longest));
                    return Err(format!("is {age} old, and may be {longest}"));
                }
                is_dated = true;
            }
            (2, found) if found == owner.workload.as_bytes() => is_owned = true,
            (2, found) => {
                let (found, this) = (String::from_utf8_lossy(found), &owner.workload);
                return Err(format!("is of {found}, and this is {this}"));
            }
            (7, found) => {
                if let Some(this) = owner.trust_domain.as_ref().filter(|this| this.as_bytes() != found) {
                    let found = String::from_utf8_lossy(found);
                    return Err(format!("is of trust domain {found}, and this is {this}"));
                }
            }
            (4, cluster) => {
                let read = templates.read(Bytes::copy_from_slice(cluster));
                clusters.extend(read.map_err(|error| format!("has a damaged cluster: {error}"))?);
            }
            (5, assignment) => snapshot.endpoints.push(endpoints(assignment)?),
            (6, _) => has_clusters = true,
            _ => {}
        }
    }
    if !is_dated || !is_owned {
        return Err("is damaged: it does not say when it was written, and for whom".into());
    }
    snapshot.clusters = has_clusters.then(|| Clusters::default().changed(clusters, |_| true));
    snapshot.names = NameTable::of_fields(body, 3).map_err(|error| error.to_string())?;
    Ok(snapshot)
}

fn endpoints(assignment: &[u8]) -> Result<(Arc<str>, Endpoints), String> {
    let (mut name, mut endpoints) = ("", Endpoints::default());
    for field in Fields(assignment) {
        match field.map_err(|malformed| format!("is damaged: {malformed}"))? {
            (1, text) => name = std::str::from_utf8(text).map_err(|_| "is damaged: a name is not UTF-8")?,
            (2, wire) => {
                let wire = Bytes::copy_from_slice(wire);
                endpoints =
                    Endpoints::decode(wire).map_err(|error| format!("has damaged endpoints: {error}"))?;
            }
            _ => {}
        }
    }
    Ok((name.into(), endpoints))
}

/// A file with this between its beginning and its checksum.
#[cfg(any(fuzzing, test))]
pub(crate) fn signed(body: &[u8]) -> Vec<u8> {
    let file = [&MAGIC[..], body].concat();
    [&file[..], &crc32fast::hash(&file).to_le_bytes()].concat()
}

#[cfg(test)]
mod tests;
