//! Access rules over real HTTP: every endpoint for everybody, with what each is told; and nothing of what is hidden.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod hidden;
mod host;
mod matrix;
mod world;
