//! [`ImageCopy`] and its options. `run` has the copy itself.

use super::event::Event;
use crate::{
    convert::{Compression, Format},
    platform::Platform,
    source::Source,
    target::Target,
};
use registry_core::{Digest, Reference, Tag};
use std::{fmt, path::PathBuf, sync::Arc};

/// Number of blobs in transfer at the same time, by default.
const JOBS: usize = 4;

/// Receiver of the events of a copy.
type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// Options that a copy and an export have in common.
#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(crate) platforms: Vec<Platform>,
    pub(crate) referrers: bool,
    pub(crate) strict: bool,
    pub(crate) compress: Option<Compression>,
    pub(crate) format: Option<Format>,
    pub(crate) spool: Option<PathBuf>,
    pub(crate) listener: Option<Listener>,
}

impl Options {
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if let Some(listener) = &self.listener {
            listener(&event());
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("platforms", &self.platforms)
            .field("referrers", &self.referrers)
            .field("strict", &self.strict)
            .field("compress", &self.compress)
            .field("format", &self.format)
            .field("spool", &self.spool)
            .finish_non_exhaustive()
    }
}

/// A copy from a source to a target, with its options.
///
/// Everything that an image refers to is put before the image, and its tags are moved last. Blobs that the target has
/// are skipped, and others are mounted where the target can. A copy that failed can be repeated: it continues with
/// what is missing.
///
/// ```
/// use registry_core::{Registry, storage::MemoryStorage};
/// use registry_image::{ImageCopy, Platform};
///
/// let registry = Registry::builder(MemoryStorage::new()).build();
/// let (from, to) = (registry.repository("team/app")?, registry.repository("mirror/app")?);
/// let copy = ImageCopy::new(&from, &to)
///     .jobs(8)
///     .platforms([Platform::parse("linux/arm64")?])
///     .referrers(true)
///     .on_event(|event| println!("{event:?}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ImageCopy<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) target: &'a dyn Target,
    pub(super) jobs: usize,
    pub(super) keep_going: bool,
    pub(super) dry_run: bool,
    pub(super) options: Options,
}

/// An image, index or artifact to copy.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyItem {
    /// Tag or digest in the source.
    pub from: Reference,
    /// Tags in the target.
    pub tags: Vec<Tag>,
}

impl CopyItem {
    /// Copies a tag under the same name.
    #[must_use]
    pub fn tag(tag: Tag) -> Self {
        Self {
            from: Reference::from(&tag),
            tags: vec![tag],
        }
    }

    /// Copies a manifest without a tag.
    #[must_use]
    pub fn digest(digest: Digest) -> Self {
        Self {
            from: digest.into(),
            tags: Vec::new(),
        }
    }

    /// Sets the tags in the target.
    #[must_use]
    pub fn with_tags(self, tags: impl IntoIterator<Item = Tag>) -> Self {
        Self {
            tags: tags.into_iter().collect(),
            ..self
        }
    }
}

impl<'a> ImageCopy<'a> {
    /// Describes a copy of whole images, without their referrers.
    pub fn new(source: &'a dyn Source, target: &'a dyn Target) -> Self {
        Self {
            source,
            target,
            jobs: JOBS,
            keep_going: false,
            dry_run: false,
            options: Options::default(),
        }
    }

    pub(crate) fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// Sets the number of blobs in transfer at the same time, at least 1. The default is 4.
    pub fn jobs(self, jobs: usize) -> Self {
        Self {
            jobs: jobs.max(1),
            ..self
        }
    }

    /// Copies only images for these platforms. Without any, all are copied.
    ///
    /// One platform copies its image in place of an index. Several platforms make a smaller index. Both change the
    /// digest, which [`Copied`](super::Copied) reports.
    pub fn platforms(mut self, platforms: impl IntoIterator<Item = Platform>) -> Self {
        self.options.platforms = platforms.into_iter().collect();
        self
    }

    /// Copies signatures and other referrers of each manifest too, and what cosign stores under tags such as
    /// `sha256-….sig`.
    pub const fn referrers(mut self, referrers: bool) -> Self {
        self.options.referrers = referrers;
        self
    }

    /// Refuses an index whose images are partly absent. By default it is put as it is, if the target accepts that.
    pub const fn strict(mut self, strict: bool) -> Self {
        self.options.strict = strict;
        self
    }

    /// Changes the compression of the layers. Without it, no layer is compressed again.
    ///
    /// The digest of an image changes, which [`Copied`](super::Copied) reports, unless its layers have this compression
    /// already. The config is kept, and every layer that is converted is verified by it. Kept as they are:
    ///
    /// - artifacts, attestations and other content that is not an image,
    /// - layers that may not be distributed or have URLs, whose bytes are elsewhere.
    ///
    /// An index is refused if images that its attestations describe change: choose one
    /// [platform](Self::platforms) then. Referrers of what changes, such as signatures, are of the old digest. They are not
    /// copied, and reported as [`Event::ReferrerNotCopied`].
    ///
    /// Layers are converted by blocking calls before their image is copied, also in a dry run. The layers of all items are
    /// in temporary files until the end.
    pub const fn compress(mut self, compression: Compression) -> Self {
        self.options.compress = Some(compression);
        self
    }

    /// Changes the family of the media types of images and indexes. Without it, they are kept.
    ///
    /// Everything else in the documents is kept. Digests change, and referrers are treated, as by
    /// [`compress`](Self::compress). Content that is not an image is kept in OCI's format. It is refused in docker's, which
    /// has no form for it, and so are layers in zstd, unless they are compressed otherwise.
    pub const fn format(mut self, format: Format) -> Self {
        self.options.format = Some(format);
        self
    }

    /// Sets the directory for layers while they are converted. The default is that for temporary files.
    pub fn spool_in(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.spool = Some(directory.into());
        self
    }

    /// Continues with the next item after one has failed.
    pub fn keep_going(self, keep_going: bool) -> Self {
        Self { keep_going, ..self }
    }

    /// Writes nothing, and reports what would be copied.
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Sets a function that is called with each event. It must not block.
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.options.listener = Some(Arc::new(listener));
        self
    }
}
