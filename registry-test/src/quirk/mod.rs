//! Quirks: behaviour in which registries differ for good, unlike a fault, which happens to a request.

mod chunks;
mod name;
mod quirks;
mod tags;

pub use self::name::{Quirk, UnknownQuirk};

pub(crate) use self::quirks::Quirks;

#[cfg(test)]
mod tests;
