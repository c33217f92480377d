//! Images in and out of OCI / Docker registries.
//!
//! [`ImageCopy`] moves images, indexes and artifacts from any [`Source`] to any [`Target`]. Every digest is kept:
//!
//! ```
//! use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
//! use registry_image::{ImageCopy, CopyItem};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).build();
//! let (staging, live) = (registry.repository("staging/app")?, registry.repository("live/app")?);
//! let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
//! let v1 = Tag::parse("v1")?;
//! staging.put_manifest(ManifestPush::new(v1.clone(), index)).await?;
//!
//! let report = ImageCopy::new(&staging, &live).run(&[CopyItem::tag(v1)]).await?;
//!
//! assert_eq!(report.copied.len(), 1);
//! assert_eq!(live.manifest("v1").await?.ok_or("not copied")?.bytes, index);
//! # Ok(())
//! # }
//! ```
//!
//! | place | source | target |
//! |---|---|---|
//! | [`registry_core::Repository`], in the same process | yes | yes |
//! | `registry_client::RemoteRepository`, with the feature `remote` | yes | yes |
//! | an OCI layout in a directory | [`Layout`] | [`LayoutWriter`] |
//! | an archive: a layout in a tar file, or docker's `save` | [`ArchiveReader`] | [`Export`] |
//! | images, indexes and artifacts that a program [builds](build) | [`build::Built`] | |
//!
//! Archives can be [incremental](Export::since): they leave out what an earlier export has. Images can be converted on the way, to
//! another [compression](ImageCopy::compress) or [family of media types](ImageCopy::format).
//!
//! The crate starts no task and no thread: a copy is a future that the host drives, by any executor without the feature
//! `remote`, and with it by tokio, which `registry-client` needs. Layouts use
//! blocking calls, so drive such a copy on a thread that may block.

mod archive;
mod blob_list;
pub mod build;
mod convert;
mod copy;
mod document;
mod durable;
mod error;
mod layout;
mod manifests;
mod narrow;
mod part;
mod plain;
mod platform;
mod printable;
#[cfg(feature = "remote")]
mod remote;
mod repository;
mod retag;
mod source;
mod target;
pub mod walk;
/// Example of the package's README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

pub use self::{
    archive::{ArchiveReader, Export, Exported},
    blob_list::{BlobList, InvalidBlobList},
    convert::{Compression, Format},
    copy::{Copied, CopyItem, Event, ImageCopy, NotCopied, Report},
    error::Error,
    layout::{Entry, Layout, LayoutWriter, Names},
    platform::{InvalidPlatform, Platform},
    retag::retag,
    source::{Blob, BlobStream, LeftOut, Origin, Page, Source},
    target::{Kind, Target},
};
