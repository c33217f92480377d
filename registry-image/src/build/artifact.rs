//! [`ArtifactBuilder`]: content that is not an image, such as a signature.
//!
//! Specification: image-spec, "Guidelines for Artifact Usage".

use super::built::Built;
use crate::document::{Annotated, ImageManifest};
use bytes::Bytes;
use registry_core::{Algorithm, Descriptor, Digest, MediaType};

const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const FILE: &str = "application/octet-stream";
const TITLE: &str = "org.opencontainers.image.title";

/// Builds an artifact. With a subject, it is a referrer of it.
///
/// ```
/// use registry_core::MediaType;
/// use registry_image::{Platform, build::{ArtifactBuilder, ImageBuilder}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let image = ImageBuilder::new(Platform::parse("linux/amd64")?).build();
/// let report = ArtifactBuilder::new(MediaType::parse("application/vnd.example.report")?)
///     .file("report.json", r#"{"findings":[]}"#)
///     .subject(image.descriptor())
///     .build();
/// assert_ne!(report.digest(), image.digest());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ArtifactBuilder {
    artifact_type: MediaType,
    layers: Vec<(Descriptor, Bytes)>,
    subject: Option<Descriptor>,
    annotations: Annotated,
}

impl ArtifactBuilder {
    /// Begins an artifact of this type without content.
    pub const fn new(artifact_type: MediaType) -> Self {
        Self {
            artifact_type,
            layers: Vec::new(),
            subject: None,
            annotations: Annotated::new(),
        }
    }

    /// Adds a file, with its name as the title. Clients such as `oras` store it under this name.
    pub fn file(mut self, name: impl Into<String>, content: impl Into<Bytes>) -> Self {
        let (mut descriptor, content) = described(known(FILE), content.into());
        descriptor.annotations = Some([(TITLE.to_owned(), name.into())].into_iter().collect());
        self.layers.push((descriptor, content));
        self
    }

    /// Adds a layer of this media type, without a name.
    pub fn layer(mut self, media_type: MediaType, content: impl Into<Bytes>) -> Self {
        self.layers.push(described(media_type, content.into()));
        self
    }

    /// Sets the manifest that it refers to.
    pub fn subject(mut self, subject: Descriptor) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Adds an annotation of the manifest.
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(name.into(), value.into());
        self
    }

    /// Builds the artifact. Without content, it has the empty layer that the specification asks for.
    #[must_use]
    pub fn build(&self) -> Built {
        let (empty, content) = described(known(EMPTY), Bytes::from_static(b"{}"));
        let mut layers: Vec<_> = self.layers.iter().map(|(layer, _)| layer.clone()).collect();
        if layers.is_empty() {
            layers.push(empty.clone());
        }
        let manifest = ImageManifest::new(&empty, &layers)
            .of_type(&self.artifact_type)
            .with_subject(self.subject.as_ref())
            .annotated(&self.annotations);
        let built = Built::new(MediaType::OCI_MANIFEST, manifest.to_bytes().into());
        let built = built.with_blob(empty.digest, content);
        let layers = self.layers.iter();
        layers.fold(built, |built, (layer, content)| {
            built.with_blob(layer.digest, content.clone())
        })
    }
}

fn described(media_type: MediaType, content: Bytes) -> (Descriptor, Bytes) {
    let digest = Digest::of(Algorithm::Sha256, &content);
    (Descriptor::new(media_type, digest, content.len() as u64), content)
}

fn known(text: &str) -> MediaType {
    MediaType::parse(text).expect("a constant is well-formed")
}
