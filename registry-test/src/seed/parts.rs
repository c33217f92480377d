//! [`Parts`]: the blobs and manifests that a seed consists of.

use super::subject::Subjects;
use bytes::Bytes;
use registry_core::{Algorithm, Digest};

/// Some content, and its media type.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) bytes: Bytes,
}

impl Part {
    pub(super) fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(Algorithm::Sha256, &bytes),
            bytes,
        }
    }
}

/// Content in an order in which a registry accepts it: all blobs, then each manifest after those that it names.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) blobs: Vec<Part>,
    pub(super) manifests: Vec<Part>,
    pub(super) subjects: &'a Subjects,
}

impl<'a> Parts<'a> {
    pub(super) const fn new(subjects: &'a Subjects) -> Self {
        Self {
            blobs: Vec::new(),
            manifests: Vec::new(),
            subjects,
        }
    }
}
