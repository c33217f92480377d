//! [`IndexBuilder`]: an index of images or other content.

use super::built::Built;
use crate::document::{self, Annotated, Index};
use registry_core::MediaType;

/// Builds an index.
///
/// ```
/// use registry_image::{Platform, build::{ImageBuilder, IndexBuilder}};
///
/// let mut index = IndexBuilder::new();
/// for platform in ["linux/amd64", "linux/arm64/v8"] {
///     index = index.entry(ImageBuilder::new(Platform::parse(platform)?).build());
/// }
/// let index = index.build();
/// assert!(index.manifest().media_type.is_index());
/// # Ok::<(), registry_image::InvalidPlatform>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct IndexBuilder {
    entries: Vec<Built>,
    annotations: Annotated,
}

impl IndexBuilder {
    /// Begins an index without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry. An image has its platform there.
    pub fn entry(mut self, entry: Built) -> Self {
        self.entries.push(entry);
        self
    }

    /// Adds an annotation of the index.
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Builds the index.
    #[must_use]
    pub fn build(&self) -> Built {
        let mut index = Index::new().annotated(&self.annotations);
        let entries = self.entries.iter();
        index.manifests = entries
            .map(|entry| document::platform_entry(&entry.descriptor(), entry.platform.as_ref()))
            .collect();
        let document = serde_json::to_vec(&index).expect("raw values are JSON");
        let built = Built::new(MediaType::OCI_INDEX, document);
        self.entries.iter().fold(built, Built::with_entry)
    }
}
