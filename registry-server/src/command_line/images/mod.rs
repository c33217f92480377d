//! `registry import`, `registry export` and `registry cp`: copies of images between storages, registries, layouts and
//! archives.
//!
//! A [`name`] is opened as batches of images by repository ([`source`]). The copies get their names ([`plan`], [`naming`]),
//! and are copied to a place ([`transfer`]), by `registry-image`. The storage of a running server is reached as any other
//! registry.

mod clients;
mod failure;
mod glob;
mod name;
mod naming;
mod nothing;
mod options;
mod output;
mod plan;
mod progress;
mod report;
mod run;
mod source;
mod transfer;

pub(crate) use self::{
    options::{Copy, Export, Import},
    run::{copy, export, import},
};
