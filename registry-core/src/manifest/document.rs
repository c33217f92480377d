//! The JSON of a manifest, and what it says of itself.

use super::{Child, InvalidManifest, Manifest};
use crate::{digest::AnyDigest, media_type::MediaType};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::sync::Arc;

/// The document, as far as it is read. A name that occurs twice is refused by serde.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    pub(super) config: Option<RawDescriptor>,
    /// Absent, or null (as Go writes an empty list), or a list.
    #[serde(default, deserialize_with = "present")]
    pub(super) layers: Option<Option<Vec<RawDescriptor>>>,
    #[serde(default, deserialize_with = "present")]
    pub(super) manifests: Option<Option<Vec<RawDescriptor>>>,
    /// The layers of the withdrawn `application/vnd.oci.artifact.manifest.v1+json`, still found in the field.
    blobs: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawDescriptor {
    media_type: String,
    digest: String,
    size: u64,
    urls: Option<Vec<String>>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The two shapes of the types we know; others may have either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Image,
    Index,
    Unknown,
}

impl Shape {
    pub(super) fn of(media_type: &MediaType) -> Self {
        match media_type.as_str() {
            MediaType::OCI_MANIFEST | MediaType::DOCKER_MANIFEST => Self::Image,
            MediaType::OCI_INDEX | MediaType::DOCKER_LIST => Self::Index,
            _ => Self::Unknown,
        }
    }
}

impl Document {
    pub(super) fn media_type(&self, header: Option<&MediaType>) -> Result<MediaType, InvalidManifest> {
        let own = self
            .media_type
            .as_deref()
            .filter(|own| !own.is_empty())
            .map(parse_type)
            .transpose()?;
        let media_type = match (own, header) {
            (Some(own), Some(header)) if own != *header => {
                return Err(InvalidManifest::MediaTypeMismatch {
                    own,
                    header: header.clone(),
                });
            }
            (Some(own), _) => own,
            (None, Some(header)) => header.clone(),
            (None, None) => return Err(InvalidManifest::NoMediaType),
        };
        if !media_type.as_str().ends_with("+json") || media_type.is_schema_1() {
            return Err(InvalidManifest::NotAManifest(media_type));
        }
        Ok(media_type)
    }

    pub(super) fn read(self, media_type: MediaType, shape: Shape) -> Result<Manifest, InvalidManifest> {
        let artifact_type = self.artifact_type.as_deref().filter(|own| !own.is_empty());
        let artifact_type = match (artifact_type, &self.config) {
            (Some(own), _) => Some(parse_type(own)?),
            // An artifact type that could not stand in a listing is as good as none.
            (None, Some(config)) if shape == Shape::Image => MediaType::parse(&config.media_type).ok(),
            (None, _) => None,
        };
        let mut blobs = children("config", self.config)?;
        blobs.append(&mut children(
            "layers",
            self.layers.flatten().unwrap_or_default(),
        )?);
        blobs.append(&mut children("blobs", self.blobs.unwrap_or_default())?);
        let subject = children("subject", self.subject)?
            .pop()
            .map(|subject| subject.digest);
        Ok(Manifest {
            media_type,
            blobs,
            manifests: children("manifests", self.manifests.flatten().unwrap_or_default())?,
            subject,
            artifact_type,
            annotations: self.annotations.and_then(object),
        })
    }
}

/// What could be shown as annotations: a JSON object and nothing else.
pub(crate) fn object(annotations: Box<RawValue>) -> Option<Arc<RawValue>> {
    annotations.get().starts_with('{').then(|| annotations.into())
}

fn children(
    field: &'static str,
    descriptors: impl IntoIterator<Item = RawDescriptor>,
) -> Result<Vec<Child>, InvalidManifest> {
    let child = |descriptor: RawDescriptor| {
        let digest = match AnyDigest::parse(&descriptor.digest) {
            Ok(digest) => digest,
            Err(source) => {
                return Err(InvalidManifest::Digest {
                    field,
                    text: descriptor.digest,
                    source,
                });
            }
        };
        let media_type = MediaType::parse(&descriptor.media_type).ok();
        let is = |of: fn(&MediaType) -> bool| media_type.as_ref().is_some_and(of);
        let elsewhere = descriptor.urls.is_some_and(|urls| !urls.is_empty());
        Ok(Child {
            digest,
            size: descriptor.size,
            is_manifest: is(MediaType::is_manifest),
            may_be_absent: is(MediaType::is_nondistributable) || elsewhere,
        })
    };
    descriptors.into_iter().map(child).collect()
}

fn parse_type(text: &str) -> Result<MediaType, InvalidManifest> {
    MediaType::parse(text).map_err(|source| InvalidManifest::MediaType {
        text: text.into(),
        source,
    })
}
