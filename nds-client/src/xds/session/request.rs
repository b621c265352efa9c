//! Requests of a size that istiod takes.

use std::sync::Arc;

use xds_proto::envoy::service::discovery::v3::DeltaDiscoveryRequest;

/// istiod takes requests of up to 4 MiB (istio `pilot/pkg/features/tuning.go`, `ISTIO_GPRC_MAXRECVMSGSIZE`).
pub(super) const MOST_BYTES: usize = 3 << 20;

/// The names in as many requests as they need.
pub(super) fn portions(names: Vec<Arc<str>>) -> impl Iterator<Item = Vec<String>> {
    let mut names = names.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut portion = Vec::new();
        // Beside its bytes, each name has a tag and a length.
        while let Some(name) = names.next_if(|name| bytes + name.len() + 8 <= MOST_BYTES || bytes == 0) {
            bytes += name.len() + 8;
            portion.push(name.to_string());
        }
        (!portion.is_empty()).then_some(portion)
    })
}

/// About this type, and nothing else.
pub(super) fn request(type_url: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: type_url.to_owned(), ..DeltaDiscoveryRequest::default() }
}
