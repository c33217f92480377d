//! [`Child`]: content that a manifest refers to.

use crate::{
    annotations::{Annotations, InvalidAnnotations},
    digest::AnyDigest,
    media_type::MediaType,
};
use std::sync::Arc;

/// Content that a manifest refers to: one of its descriptors.
///
/// ```
/// use registry_core::manifest::Manifest;
///
/// let index = br#"{
///     "schemaVersion": 2,
///     "mediaType": "application/vnd.oci.image.index.v1+json",
///     "manifests": [{
///         "mediaType": "application/vnd.oci.image.manifest.v1+json",
///         "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
///         "size": 3,
///         "annotations": {"org.opencontainers.image.ref.name": "v1"}
///     }]
/// }"#;
/// let index = Manifest::parse(index, None)?;
/// let entry = &index.manifests()[0];
/// assert!(entry.is_manifest() && entry.size == 3);
/// assert_eq!(entry.annotations.as_ref().unwrap().to_map()["org.opencontainers.image.ref.name"], "v1");
/// # Ok::<(), registry_core::manifest::InvalidManifest>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Child {
    /// Media type; `None` if the descriptor has another text there.
    pub media_type: Option<MediaType>,
    /// Its digest, possibly with an algorithm that is not supported here.
    pub digest: AnyDigest,
    /// Size in bytes that the descriptor gives.
    pub size: u64,
    /// Artifact type of an entry of an index. In a stored manifest it may be any text.
    pub artifact_type: Option<Arc<str>>,
    /// Annotations. Malformed ones of a stored manifest are left out.
    pub annotations: Option<Annotations>,
    /// URLs of a layer; empty for any other content.
    pub urls: Vec<String>,
    /// Reason for which annotations were left out.
    pub(crate) problem: Option<Box<InvalidAnnotations>>,
}

impl Child {
    /// Returns true if its media type is that of a manifest or an index.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        self.media_type.as_ref().is_some_and(MediaType::is_manifest)
    }

    /// Returns true if its media type is non-distributable. Such a layer need not be in the repository.
    #[must_use]
    pub fn is_nondistributable(&self) -> bool {
        self.media_type
            .as_ref()
            .is_some_and(MediaType::is_nondistributable)
    }
}
