//! The commands of the binary that have a module of their own.

pub(crate) mod doctor;
