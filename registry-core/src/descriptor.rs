//! [`Descriptor`]: media type, digest and size of some content.
//!
//! Specification: image-spec, "Content Descriptors".

use crate::{annotations::Annotations, digest::Digest, media_type::MediaType};
use std::sync::Arc;

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
    /// For a manifest, its `artifactType`, or for an image manifest without one its `config.mediaType`. A text: of what
    /// is stored it may be anything.
    pub artifact_type: Option<Arc<str>>,
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

    /// Whether a list of this artifact type has it, or a list of any.
    #[must_use]
    pub fn is_of(&self, artifact_type: Option<&str>) -> bool {
        artifact_type.is_none() || self.artifact_type.as_deref() == artifact_type
    }
}
