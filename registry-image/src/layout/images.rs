//! [`Layout`]: the images of an OCI layout. The trait `Source` is implemented in `read`.

use super::{
    directory::Directory,
    entries::{self, Entry, Listed},
    files::{self, Files, blob_path, read_document},
    lookup::Lookup,
};
use crate::{
    error::Error,
    source::{BlobStream, LeftOut},
};
use bytes::Bytes;
use registry_core::{Descriptor, Digest, storage::StoredManifest};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, OnceLock},
};

/// Images of an OCI layout, as a source.
///
/// Every digest is verified while content is read, also from an offset. An entry has the tag that its annotation
/// `org.opencontainers.image.ref.name` or `io.containerd.image.name` ends with.
///
/// ```
/// use registry_core::{Registry, Tag, service::ManifestPush, storage::MemoryStorage};
/// use registry_image::{ImageCopy, CopyItem, Layout, LayoutWriter};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path().join("layout");
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let (from, to) = (registry.repository("team/app")?, registry.repository("copy/app")?);
/// # let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// # from.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?;
/// let items = [CopyItem::tag(Tag::parse("v1")?)];
///
/// let layout = LayoutWriter::create(&directory)?;
/// ImageCopy::new(&from, &layout).run(&items).await?;
///
/// let layout = Layout::open(&directory)?;
/// assert_eq!(layout.entries()[0].reference(), Some("v1"));
/// ImageCopy::new(&layout, &to).run(&items).await?;
/// assert!(to.manifest("v1").await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) files: Arc<dyn Files>,
    pub(super) entries: Vec<Entry>,
    /// Entries without a name that are not selected. Referrers are among them.
    pub(super) nameless: Vec<Entry>,
    pub(super) lookup: Arc<Lookup>,
    /// Blobs that are not in the layout, because its target has them.
    pub(super) left_out: Option<Arc<LeftOut>>,
    /// Content that no file of the layout has as it is.
    made: Arc<BTreeMap<Digest, Made>>,
    /// Referrers by their subjects, after the first query. Clones share it, because they have the same entries.
    pub(super) referrers: Arc<OnceLock<BTreeMap<Digest, Vec<Descriptor>>>>,
}

/// Content under another name than its digest.
#[derive(Debug)]
pub(crate) enum Made {
    /// A manifest that was made for an image without one.
    Manifest(StoredManifest),
    /// The path of a file.
    File(String),
}

impl Layout {
    /// Opens an OCI layout in a directory.
    ///
    /// # Errors
    ///
    /// [`Error`] if the directory is not a layout, or cannot be read.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self, Error> {
        Self::of(Arc::new(Directory::new(directory.as_ref())))
    }

    /// Reads the entries of an OCI layout.
    pub(crate) fn of(files: Arc<dyn Files>) -> Result<Self, Error> {
        let Listed { entries, left_out } = entries::read(&*files)?;
        let layout = Self::with(files, entries, BTreeMap::new());
        Ok(Self {
            left_out: left_out.map(Arc::new),
            ..layout
        })
    }

    /// Combines entries with the content that they need.
    pub(crate) fn with(files: Arc<dyn Files>, entries: Vec<Entry>, made: BTreeMap<Digest, Made>) -> Self {
        Self {
            files,
            lookup: Arc::new(Lookup::of(&entries, &[])),
            entries,
            nameless: Vec::new(),
            left_out: None,
            made: Arc::new(made),
            referrers: Arc::default(),
        }
    }

    /// Returns the entries in their order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Keeps only the entries of a repository by its full name, such as `registry.example.com/team/app`.
    ///
    /// The same tag can then be in several repositories of one archive. Referrers without a name stay available by their
    /// subjects.
    #[must_use]
    pub fn only(self, repository: &str) -> Self {
        let is_selected = |entry: &Entry| entry.repositories().any(|found| found == repository);
        let (entries, others): (Vec<_>, Vec<_>) = self.entries.into_iter().partition(is_selected);
        let mut nameless = self.nameless;
        nameless.extend(others.into_iter().filter(|entry| !entry.has_name()));
        Self {
            files: self.files,
            lookup: Arc::new(Lookup::of(&entries, &nameless)),
            entries,
            nameless,
            left_out: self.left_out,
            made: self.made,
            referrers: Arc::default(),
        }
    }

    /// Returns the entries, and those without a name that are not selected.
    pub(super) fn all_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().chain(&self.nameless)
    }

    /// Reads a manifest, and checks its digest.
    pub(crate) fn read_manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        if let Some(Made::Manifest(made)) = self.made.get(digest) {
            return Ok(Some(made.clone()));
        }
        let Some(bytes) = self.read_blob(digest)? else {
            return Ok(None);
        };
        let listed = self.lookup.digest(digest);
        let size = bytes.len() as u64;
        if let Some(listed) = listed.filter(|listed| listed.size != size) {
            return Err(Error::Size {
                place: self.files.place().to_owned(),
                digest: *digest,
                expected: listed.size,
                actual: size,
            });
        }
        let media_type = listed.map_or_else(
            || registry_core::manifest::Manifest::sniff_media_type(&bytes),
            |listed| listed.media_type.clone(),
        );
        Ok(Some(StoredManifest::new(*digest, media_type, bytes)))
    }

    /// Reads a small blob, and checks its digest.
    fn read_blob(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let path = self.path(digest);
        let Some(bytes) = read_document(&*self.files, &path)? else {
            return Ok(None);
        };
        let actual = Digest::of(digest.algorithm(), &bytes);
        if actual != *digest {
            return Err(Error::Digest {
                place: self.files.place().to_owned(),
                digest: *digest,
                actual,
            });
        }
        Ok(Some(bytes))
    }

    /// Opens a blob, verified while it is read.
    pub(super) fn open_blob(&self, digest: &Digest, from: u64) -> Result<Option<(u64, BlobStream)>, Error> {
        let path = self.path(digest);
        let Some(file) = self.files.open(&path)? else {
            return Ok(None);
        };
        let size = file.size;
        if from > size {
            let reason = format!("cannot be read from byte {from}: it has {size} bytes");
            return Err(Error::layout(self.files.place(), path, reason));
        }
        Ok(Some((
            size,
            files::verified(self.files.place(), digest, from, file),
        )))
    }

    fn path(&self, digest: &Digest) -> String {
        match self.made.get(digest) {
            Some(Made::File(path)) => path.clone(),
            Some(Made::Manifest(_)) | None => blob_path(digest),
        }
    }
}
