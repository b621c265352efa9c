//! The resolver from outside: tables made by hand, upstream DNS on loopback, real clients.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "the tests' own servers and tables")]

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
