//! [`Export`] and its options.

use crate::{
    blob_list::BlobList,
    convert::{Compression, Format},
    copy::{CopyItem, Event, Options},
    layout::Names,
    platform::Platform,
    source::Source,
};
use std::{path::PathBuf, sync::Arc};

/// An export of images to an archive.
///
/// The archive is an OCI layout, and has a `manifest.json` for docker if there are images in it. Its order is:
/// `oci-layout`, `index.json`, `manifest.json`, manifests, configs, layers, each by digest. All times are 0, so the same
/// images make the same bytes. Every digest is kept, unless an index is narrowed
/// to some platforms, or images are converted.
///
/// Files are written by blocking calls, so drive an export on a thread that may block.
///
/// ```
/// use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
/// use registry_image::{ArchiveReader, CopyItem, Export, Names};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
/// # let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// # repository.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
/// let items = [CopyItem::tag(Tag::parse("v1")?)];
/// let names = Names::of_repository("registry.example.com/team/app");
///
/// let mut archive = Vec::new();
/// let exported = Export::new().add(&repository, &items, names).write(&mut archive).await?;
/// assert_eq!(exported.copied.len(), 1);
///
/// let layout = ArchiveReader::new().read("the archive", &*archive)?;
/// assert_eq!(layout.entries()[0].names(), ["registry.example.com/team/app:v1"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Export<'a> {
    pub(super) groups: Vec<Group<'a>>,
    pub(super) docker_platform: Option<Platform>,
    pub(super) base: Option<BlobList>,
    pub(super) options: Options,
}

/// Images of one source.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) items: Vec<CopyItem>,
    pub(super) names: Names,
}

impl<'a> Export<'a> {
    /// Describes an export of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds images of a source, with their names. Several repositories in one archive need [full](Names::full) names.
    pub fn add(mut self, source: &'a dyn Source, items: &[CopyItem], names: Names) -> Self {
        self.groups.push(Group {
            source,
            items: items.to_vec(),
            names,
        });
        self
    }

    /// Exports only images for these platforms, see [`ImageCopy::platforms`](crate::ImageCopy::platforms).
    pub fn platforms(mut self, platforms: impl IntoIterator<Item = Platform>) -> Self {
        self.options.platforms = platforms.into_iter().collect();
        self
    }

    /// Sets the platform of the image that `manifest.json` has of each index. The default is `linux/amd64`.
    pub fn docker_platform(self, platform: Platform) -> Self {
        Self {
            docker_platform: Some(platform),
            ..self
        }
    }

    /// Exports signatures and other referrers too, see [`ImageCopy::referrers`](crate::ImageCopy::referrers).
    pub const fn referrers(mut self, referrers: bool) -> Self {
        self.options.referrers = referrers;
        self
    }

    /// Refuses an index whose images are partly absent.
    pub const fn strict(mut self, strict: bool) -> Self {
        self.options.strict = strict;
        self
    }

    /// Changes the compression of the layers, see [`ImageCopy::compress`](crate::ImageCopy::compress).
    pub const fn compress(mut self, compression: Compression) -> Self {
        self.options.compress = Some(compression);
        self
    }

    /// Changes the family of the media types, see [`ImageCopy::format`](crate::ImageCopy::format).
    pub const fn format(mut self, format: Format) -> Self {
        self.options.format = Some(format);
        self
    }

    /// Sets the directory for layers while they are converted. The default is that for temporary files.
    pub fn spool_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.spool = Some(directory.into());
        self
    }

    /// Leaves out the blobs of a list, which the target has from an earlier export: the base.
    ///
    /// The archive records the base and the blobs that it leaves out, and still has all manifests. A copy from it fails
    /// before it writes anything unless its target has these blobs. Other programs report the first blob that they miss.
    ///
    /// ```
    /// # use registry_core::{MediaType, Registry, storage::MemoryStorage};
    /// # use registry_image::{ImageCopy, build::ArtifactBuilder};
    /// use registry_core::Tag;
    /// use registry_image::{CopyItem, Export, Names};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let registry = Registry::builder(MemoryStorage::new()).build();
    /// # let repository = registry.repository("team/app")?;
    /// # let built = ArtifactBuilder::new(MediaType::parse("text/plain")?).file("a.txt", "a").build();
    /// # let item = CopyItem::digest(built.digest()).with_tags([Tag::parse("v1")?]);
    /// # ImageCopy::new(&built, &repository).run(&[item]).await?;
    /// let items = [CopyItem::tag(Tag::parse("v1")?)];
    /// let export = Export::new().add(&repository, &items, Names::tags());
    /// let first = export.write(&mut Vec::new()).await?;
    ///
    /// let second = export.since(first.contents).write(&mut Vec::new()).await?;
    /// assert_eq!((second.blobs, second.left_out), (0, 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn since(self, base: BlobList) -> Self {
        Self {
            base: Some(base),
            ..self
        }
    }

    /// Sets a function that is called with each event. It must not block.
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.options.listener = Some(Arc::new(listener));
        self
    }
}
