//! Faults as clients see them: each one with a client that is a plain socket, so that every byte and the end of the
//! connection are known.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod accounts;
mod bodies;
mod client;
mod connections;
mod detours;
mod statuses;
mod tokens;
