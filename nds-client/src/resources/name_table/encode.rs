//! Encodes names for the snapshot on disk, in the form of a `NameTable` message.

use super::{NameEntry, Registry};
use crate::protobuf::put;

impl NameEntry<'_> {
    /// Writes the entry as a field with this number.
    pub(crate) fn put(&self, out: &mut Vec<u8>, number: u8) {
        let mut info = Vec::new();
        for ip in self.addresses() {
            put(&mut info, 1, ip.to_string().as_bytes());
        }
        let (short_name, namespace, registry) = self.service();
        let registry = match registry {
            Registry::External => "External",
            Registry::Kubernetes => "Kubernetes",
        };
        for (number, text) in [(2, registry), (3, short_name), (4, namespace)] {
            put(&mut info, number, text.as_bytes());
        }
        let mut entry = Vec::new();
        put(&mut entry, 1, self.name().as_bytes());
        put(&mut entry, 2, &info);
        put(out, number, &entry);
    }
}
