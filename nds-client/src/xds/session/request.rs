//! Requests within the size limit of istiod.

use std::sync::Arc;

use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;

/// The maximum size of a request. It is below the limit of istiod, 4 MiB (istio `pilot/pkg/features/tuning.go`,
/// `ISTIO_GPRC_MAXRECVMSGSIZE`).
pub(super) const MAX_BYTES: usize = 3 << 20;

/// Splits resource names into groups, each of which fits into one request.
pub(super) fn chunks(names: Vec<Arc<str>>) -> impl Iterator<Item = Vec<String>> {
    let mut names = names.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut chunk = Vec::new();
        // Each name also has a tag and a length.
        while let Some(name) = names.next_if(|name| bytes + name.len() + 8 <= MAX_BYTES || bytes == 0) {
            bytes += name.len() + 8;
            chunk.push(name.to_string());
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Returns a request with this type and no other fields.
pub(super) fn request(type_url: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..DeltaDiscoveryRequest::default() }
}
