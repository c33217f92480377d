//! OCI layouts: [`Layout`] reads one, [`LayoutWriter`] writes one.
//!
//! Files are read and written by blocking calls, in pieces of at most 64 KiB. The crate has no runtime and starts no
//! thread, so the host drives a copy on a thread that may block.
//!
//! Specification: image-spec, "Image Layout".

mod directory;
mod entries;
mod files;
mod images;
mod listing;
mod lookup;
mod names;
mod read;
mod referrers;
mod writer;

pub use self::{entries::Entry, images::Layout, names::Names, writer::LayoutWriter};

pub(crate) use self::{
    entries::{INDEX, MARKER, check_name},
    files::{DOCUMENT, Files, OpenFile, PIECE, blob_path, fill, read_document, verified},
    images::Made,
    listing::Listing,
};
