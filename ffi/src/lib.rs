//! libsidestep: the C library of Sidestep. Its reference is the header, `include/sidestep.h`, which is made from this
//! crate; `README.md` is the guide.
//!
//! Each exported function is a few lines: arguments are checked (`arguments`), handles become values (`handle`),
//! the work is done by `mesh-connector` on the mesh's own threads (`runtime`), and what comes of it goes back through
//! the border (`border`), which no panic passes.
//!
//! `unsafe` is in `arguments` (what C points to), `addresses` and `getaddrinfo::system` (lists of `struct addrinfo`),
//! `descriptor` and `stream` (descriptors), `handle::process` (a page of memory), `log` (its callback), `signals`, `thread`
//! (values of a thread), and where exported functions pass on what the header asks of their callers.

#![expect(non_camel_case_types, reason = "C's names")]
#![expect(clippy::missing_safety_doc, reason = "the header says it for all functions at once")]

#[cfg(not(panic = "unwind"))]
compile_error!(
    "libsidestep needs a profile with `panic = \"unwind\"`: a panic must end at C's border, not the program"
);

pub mod addresses;
mod arguments;
mod border;
pub mod bridge;
pub mod completion;
pub mod connect;
pub mod connection;
mod counted;
mod descriptor;
pub mod dns;
pub mod error;
pub mod explain;
mod failure;
pub mod getaddrinfo;
mod handle;
pub mod log;
pub mod mesh;
pub mod metrics;
pub mod queue;
mod runtime;
pub mod settings;
mod signals;
pub mod status;
pub mod stream;
pub mod text;
mod thread;
pub mod version;
