//! What istiod sends, as immutable values: names (NDS), clusters (CDS) and endpoints (EDS).
//!
//! Clusters and endpoints follow Envoy's API, of which they are the parts that decide a client's connections.

pub mod cluster;
pub mod endpoint;
pub mod locality;
mod metadata;
pub mod name_table;
pub mod spiffe;
