//! [`Artifact`]: content that is no image, such as a signature or a list of components.
//!
//! Specification: image-spec, "Guidelines for Artifact Usage".

use super::{
    document::{self, Object, descriptor},
    error::SeedError,
    parts::{Part, Parts},
    subject::Subject,
};
use bytes::Bytes;
use registry_core::MediaType;
use std::collections::BTreeMap;

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const FILE: &str = "application/octet-stream";
const TITLE: &str = "org.opencontainers.image.title";

/// An OCI artifact, created by [`artifact`]. It may refer to another manifest, and is then one of its referrers.
#[derive(Clone, Debug)]
#[must_use]
pub struct Artifact {
    artifact_type: String,
    contents: Vec<Content>,
    subject: Option<Subject>,
    annotations: BTreeMap<String, String>,
}

/// One layer of an artifact.
#[derive(Clone, Debug)]
struct Content {
    media_type: String,
    title: Option<String>,
    bytes: Bytes,
}

/// Describes an artifact of this type.
///
/// ```
/// use registry_test::artifact;
///
/// let report = artifact("application/vnd.example.report").file("report.json", "{}").subject("app:v1");
/// ```
pub fn artifact(artifact_type: impl Into<String>) -> Artifact {
    Artifact {
        artifact_type: artifact_type.into(),
        contents: Vec::new(),
        subject: None,
        annotations: BTreeMap::new(),
    }
}

impl Artifact {
    /// Adds a file, with its name as the title. Clients such as `oras` store it under this name.
    pub fn file(mut self, name: impl Into<String>, content: impl AsRef<[u8]>) -> Self {
        self.contents.push(Content {
            media_type: FILE.into(),
            title: Some(name.into()),
            bytes: Bytes::copy_from_slice(content.as_ref()),
        });
        self
    }

    /// Adds a layer of this media type, without a name.
    pub fn layer(mut self, media_type: impl Into<String>, content: impl AsRef<[u8]>) -> Self {
        self.contents.push(Content {
            media_type: media_type.into(),
            title: None,
            bytes: Bytes::copy_from_slice(content.as_ref()),
        });
        self
    }

    /// Sets the manifest that it refers to, which is in the same repository already: a digest, or a name.
    pub fn subject(self, subject: impl Into<Subject>) -> Self {
        Self {
            subject: Some(subject.into()),
            ..self
        }
    }

    /// Adds an annotation of the manifest.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    pub(super) fn artifact_type(&self) -> &str {
        &self.artifact_type
    }

    pub(super) const fn subject_of(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// Adds its content to `parts`; returns its manifest.
    pub(super) fn render(&self, parts: &mut Parts<'_>) -> Result<Part, SeedError> {
        let types = self.contents.iter().map(|content| &content.media_type);
        for text in types.chain([&self.artifact_type]) {
            MediaType::parse(text).map_err(|source| SeedError::MediaType {
                text: text.clone(),
                source,
            })?;
        }
        let empty = Part::new(EMPTY, "{}");
        let mut layers = Vec::new();
        for content in &self.contents {
            let layer = Part::new(&content.media_type, content.bytes.clone());
            let titles = content
                .title
                .iter()
                .map(|title| (TITLE.to_owned(), title.clone()));
            layers.push(descriptor(&layer).annotations(&titles.collect()).finish());
            parts.blobs.push(layer);
        }
        if layers.is_empty() {
            layers.push(descriptor(&empty).finish());
        }
        let mut manifest: Object = document::manifest(MediaType::OCI_MANIFEST)
            .text("artifactType", &self.artifact_type)
            .json("config", &descriptor(&empty).finish())
            .list("layers", layers);
        parts.blobs.push(empty);
        if let Some(subject) = self.subject.as_ref().and_then(|one| parts.subjects.get(one)) {
            manifest = manifest.json("subject", subject);
        }
        let manifest = manifest.annotations(&self.annotations);
        Ok(Part::new(MediaType::OCI_MANIFEST, manifest.finish()))
    }
}
