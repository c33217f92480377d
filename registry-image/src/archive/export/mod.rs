//! [`Export`]: writes an archive that docker, containerd, podman and skopeo read.
//!
//! The index of an archive comes before its blobs, so that a reader of a pipe knows what follows. Therefore an archive is
//! no [`Target`](crate::Target), whose index comes last: all manifests are read first, and then each blob is streamed to
//! its place. No blob is stored twice on the way.

mod docker;
mod options;
mod plan;
mod tape;
mod write;

pub use self::{options::Export, write::Exported};
