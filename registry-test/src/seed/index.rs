//! [`Seed`], and [`Index`], which consists of seeds.

use super::{
    artifact::Artifact,
    document::{self, Object, descriptor},
    error::SeedError,
    image::Image,
    parts::{Part, Parts},
    subject::Subject,
};
use registry_core::MediaType;
use std::collections::BTreeMap;

/// Content that can be put into a registry.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Seed {
    /// An image for one platform.
    Image(Image),
    /// An index.
    Index(Index),
    /// An artifact.
    Artifact(Artifact),
}

/// An OCI index, created by [`index`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Index {
    entries: Vec<Seed>,
    annotations: BTreeMap<String, String>,
}

/// Describes an index of images, or of other content.
///
/// ```
/// use registry_test::{image, index};
///
/// let app = index(["linux/amd64", "linux/arm64"].map(|platform| image().platform(platform)));
/// ```
pub fn index(entries: impl IntoIterator<Item = impl Into<Seed>>) -> Index {
    Index {
        entries: entries.into_iter().map(Into::into).collect(),
        annotations: BTreeMap::new(),
    }
}

impl Index {
    /// Adds an annotation of the index.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    fn render(&self, parts: &mut Parts<'_>) -> Result<Part, SeedError> {
        let mut entries = Vec::new();
        for entry in &self.entries {
            entries.push(entry.render(parts)?.finish());
        }
        let index = document::manifest(MediaType::OCI_INDEX)
            .list("manifests", entries)
            .annotations(&self.annotations);
        Ok(Part::new(MediaType::OCI_INDEX, index.finish()))
    }
}

impl Seed {
    /// Adds its content to `parts`, its own manifest last; returns the descriptor for an index.
    pub(super) fn render(&self, parts: &mut Parts<'_>) -> Result<Object, SeedError> {
        let (manifest, entry) = match self {
            Self::Image(image) => {
                let (manifest, platform) = image.render(parts)?;
                let entry = descriptor(&manifest).json("platform", &platform);
                (manifest, entry)
            }
            Self::Index(index) => {
                let manifest = index.render(parts)?;
                let entry = descriptor(&manifest);
                (manifest, entry)
            }
            Self::Artifact(artifact) => {
                let manifest = artifact.render(parts)?;
                let entry = descriptor(&manifest).text("artifactType", artifact.artifact_type());
                (manifest, entry)
            }
        };
        parts.manifests.push(manifest);
        Ok(entry)
    }

    /// Returns the subjects of all artifacts in it.
    pub(super) fn subjects(&self) -> Vec<&Subject> {
        match self {
            Self::Image(_) => Vec::new(),
            Self::Index(index) => index.entries.iter().flat_map(Self::subjects).collect(),
            Self::Artifact(artifact) => artifact.subject_of().into_iter().collect(),
        }
    }
}

impl From<Image> for Seed {
    fn from(image: Image) -> Self {
        Self::Image(image)
    }
}

impl From<Index> for Seed {
    fn from(index: Index) -> Self {
        Self::Index(index)
    }
}

impl From<Artifact> for Seed {
    fn from(artifact: Artifact) -> Self {
        Self::Artifact(artifact)
    }
}
