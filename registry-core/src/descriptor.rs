//! [`Descriptor`]: media type, digest and size of some content.
//!
//! Specification: image-spec, "Content Descriptors".

use crate::{annotations::Annotations, digest::Digest, media_type::MediaType};

/// Media type, digest and size of some content, as the listing of referrers gives it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content, in bytes.
    pub size: u64,
    /// For a manifest, its `artifactType`, or for an image manifest without one its `config.mediaType`.
    pub artifact_type: Option<MediaType>,
    /// The manifest's `annotations`.
    pub annotations: Option<Annotations>,
}

impl Descriptor {
    /// A descriptor without artifact type and annotations; `size` in bytes.
    #[must_use]
    pub const fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            artifact_type: None,
            annotations: None,
        }
    }
}
