//! Archives: tar files with images. [`ArchiveReader`] opens one as a [`Layout`](crate::Layout), [`Export`] writes one.
//!
//! An archive is indexed first, and content is read from its place in the file. A pipe or a compressed archive is
//! written to an unnamed file before. An entry that no tool writes for images is refused: see [`ArchiveReader`].
//!
//! Formats: image-spec, "Image Layout", as a tar file; docker's `save`, with `manifest.json`.

mod docker;
mod export;
mod file;
mod header;
mod members;
mod reader;
mod spool;

pub use self::{
    export::{Export, Exported},
    reader::ArchiveReader,
};
