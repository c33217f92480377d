//! Access rules over real HTTP: every endpoint for every user, with the answers, and without any trace of hidden
//! content.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod hidden;
mod host;
mod matrix;
mod world;
