//! The queried names, in the formats of servers and clients.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{
    Failure,
    fixture::{address, name},
};

/// Files in a temporary folder, which is removed when this value is dropped.
pub(super) struct Names {
    dir: TempDir,
    count: u32,
}

impl Names {
    pub(super) fn new(count: u32) -> Result<Self, Failure> {
        Ok(Self { dir: tempfile::tempdir()?, count })
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns the query file of dnsperf, in random order.
    pub(super) fn questions(&self) -> Result<PathBuf, Failure> {
        let mut numbers: Vec<_> = (0..self.count).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut numbers);
        self.write("questions", numbers.into_iter().map(|number| format!("{} A\n", name(number))))
    }

    /// Returns the queries as messages, in random order.
    pub(super) fn messages(&self) -> Vec<Vec<u8>> {
        (0..self.count).map(|number| message(&name(number))).collect()
    }

    /// Returns a file in the format of /etc/hosts.
    pub(super) fn hosts(&self) -> Result<PathBuf, Failure> {
        self.write("hosts", (0..self.count).map(|number| format!("{} {}\n", address(number), name(number))))
    }

    /// Returns local data for unbound.
    pub(super) fn local_data(&self) -> String {
        (0..self.count).fold(String::new(), |mut text, number| {
            let _ = writeln!(text, "  local-data: \"{} 30 A {}\"", name(number), address(number));
            text
        })
    }

    /// Returns ServiceEntries of one hundred hosts each.
    pub(super) fn service_entries(&self) -> String {
        let mut yaml = String::new();
        for (number, hosts) in (0..self.count).collect::<Vec<_>>().chunks(100).enumerate() {
            let hosts: Vec<_> = hosts.iter().map(|number| name(*number)).collect();
            let _ = write!(
                yaml,
                "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
                 metadata: {{name: bench-{number}, namespace: shop}}\n\
                 spec: {{hosts: [{}], addresses: [10.200.0.{}], resolution: NONE, location: MESH_EXTERNAL, \
                 ports: [{{number: 3002, name: http, protocol: HTTP}}]}}\n",
                hosts.join(", "),
                number + 1
            );
        }
        yaml
    }

    fn write(&self, file: &str, lines: impl Iterator<Item = String>) -> Result<PathBuf, Failure> {
        let path = self.dir().join(file);
        fs::write(&path, lines.collect::<String>())?;
        Ok(path)
    }
}

/// Returns a query for the A records of a name.
pub(super) fn message(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}
