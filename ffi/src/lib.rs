//! libsidestep, the C library of Sidestep. The reference is the header `include/sidestep.h`, which is generated from this
//! crate. `README.md` is the guide.
//!
//! Each exported function checks its arguments (`arguments`), turns handles into objects (`handle`), runs the work of
//! `mesh-connector` on the mesh's own threads (`runtime`), and returns a status (`boundary`, which also catches panics).
//!
//! `unsafe` code is in `arguments` (pointers from C), `addresses` and `getaddrinfo::system` (`struct addrinfo` lists),
//! `descriptor`, `standard_descriptors` and `stream` (descriptors), `handle::process` (a memory page), `log` (the
//! callback), `signals`, `thread` (thread-local values), and in exported functions, whose requirements the header states.

#![expect(non_camel_case_types, reason = "the names follow C conventions")]
#![expect(clippy::missing_safety_doc, reason = "the header states the requirements of all functions")]

#[cfg(not(panic = "unwind"))]
compile_error!(
    "libsidestep needs a profile with `panic = \"unwind\"`: a panic must become a status, not abort the program"
);

pub mod addresses;
mod arguments;
mod boundary;
pub mod bridge;
pub mod completion;
pub mod connect;
pub mod connection;

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
mod recorder;
mod runtime;
pub mod settings;
mod signals;
mod standard_descriptors;
pub mod status;
pub mod stream;
pub mod text;
mod thread;
pub mod version;
