//! [`Descriptor`]: media type, digest and size of some content.
//!
//! Specification: image-spec, "Content Descriptors".

use crate::{annotations::Annotations, digest::Digest, media_type::MediaType};
use std::sync::Arc;

/// Media type, digest and size of some content, for the list of referrers.
///
/// ```
/// use registry_core::{Algorithm, Descriptor, Digest, MediaType};
///
/// let manifest = br#"{"schemaVersion":2}"#;
/// let mut descriptor = Descriptor::new(
///     MediaType::parse(MediaType::OCI_MANIFEST)?,
///     Digest::of(Algorithm::Sha256, manifest),
///     manifest.len() as u64,
/// );
/// descriptor.artifact_type = Some("application/vnd.example.sbom+json".into());
/// descriptor.annotations = Some([("org.example.tool", "scan 1.2")].into_iter().collect());
///
/// assert!(descriptor.is_of(None));
/// assert!(!descriptor.is_of(Some("application/vnd.example.signature+json")));
/// # Ok::<(), registry_core::media_type::InvalidMediaType>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Descriptor {
    /// The type of the content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content, in bytes.
    pub size: u64,
    /// Artifact type of a manifest: its `artifactType`, or for an image manifest without one its
    /// `config.mediaType`. In a stored manifest it may be any text.
    pub artifact_type: Option<Arc<str>>,
    /// Annotations of a manifest.
    pub annotations: Option<Annotations>,
}

impl Descriptor {
    /// Creates a descriptor without artifact type and annotations. `size` is in bytes.
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

    /// Returns true if its artifact type is `artifact_type`, or if `artifact_type` is `None`.
    #[must_use]
    pub fn is_of(&self, artifact_type: Option<&str>) -> bool {
        artifact_type.is_none() || self.artifact_type.as_deref() == artifact_type
    }
}
