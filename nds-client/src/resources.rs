//! The resources that istiod pushes, as immutable values: names (NDS), clusters (CDS) and endpoints (EDS).
//!
//! Clusters and endpoints follow Envoy's model and contain the fields that affect the connections of a client. Fields
//! and variants are added in minor versions, as this project implements more of that model.

pub mod cluster;
pub mod endpoint;
mod invalid;
pub mod locality;
mod metadata;
pub mod name_table;
pub mod spiffe;
pub(crate) mod spiffe_id;

pub use self::invalid::InvalidResource;
