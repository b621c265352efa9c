//! Integration tests of the resolver with hand-made name tables, upstream DNS on loopback, and real clients.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod first_table;
mod hickory;
mod hickory_server;
mod http;
mod hyper;
mod kept;
mod listener;
mod lookup_ip;
mod mesh;
mod mode;
mod name_server;
mod odd;
mod reqwest;
mod tonic;
mod tower;
mod upstream;
