//! Tests of the checks themselves, on sources as strings.

mod cycles;
mod waits;
