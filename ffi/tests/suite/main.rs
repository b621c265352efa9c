//! libsidestep as C programs see it: the header, the exported symbols, and programs that are compiled against the library
//! that has just been built and run beside a mesh in this process (`mesh-sandbox`).

#![expect(clippy::unwrap_used, reason = "a test harness")]

mod header;
mod library;
mod package;
mod programs;
mod symbols;
mod world;
