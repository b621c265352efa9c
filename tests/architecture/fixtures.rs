//! Tests of the checks, with sources as strings.

mod cycles;
mod waits;
