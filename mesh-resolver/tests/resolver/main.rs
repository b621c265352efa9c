//! Integration tests of the resolver with hand-made name tables, upstream DNS on loopback, and real clients.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod cache;
mod first_table;
mod hickory;
mod hickory_server;
mod http;
mod hyper;
mod listener;
mod lookup_ip;
mod mesh;
mod misbehaving;
mod name_server;
mod policy;
mod reqwest;
mod tonic;
mod tower;
mod upstream;
