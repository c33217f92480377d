//! JSON of a manifest, parsed in one pass.

use super::{
    child::Child,
    invalid::InvalidManifest,
    keys::{self, Field, Keys, Reading},
    values::{Base64, List, Nullable, Size, value},
};
use crate::{
    annotations::{Annotations, InvalidAnnotations},
    digest::AnyDigest,
    json::{InvalidJson, Text},
    media_type::MediaType,
};
use serde_core::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt, marker::PhantomData, str, sync::Arc};

/// Fields of the document that are read.
///
/// A stored document may contain a key several times. Then all of its references count, and the last value of
/// any other field.
pub(super) struct Document<'a> {
    pub(super) schema_version: Option<u64>,
    media_type: Option<Cow<'a, str>>,
    pub(super) artifact_type: Option<Cow<'a, str>>,
    pub(super) config: Vec<RawDescriptor<'a>>,
    /// Absent, null, or a list.
    pub(super) layers: Option<Option<Vec<RawDescriptor<'a>>>>,
    pub(super) manifests: Option<Option<Vec<RawDescriptor<'a>>>>,
    /// Layers of the withdrawn type `application/vnd.oci.artifact.manifest.v1+json`, which is still in use.
    pub(super) blobs: Vec<RawDescriptor<'a>>,
    pub(super) subject: Option<RawDescriptor<'a>>,
    pub(super) annotations: Option<&'a RawValue>,
    pub(super) reading: Reading,
}

pub(super) struct RawDescriptor<'a> {
    pub(super) media_type: Cow<'a, str>,
    digest: Cow<'a, str>,
    size: u64,
    urls: Vec<Cow<'a, str>>,
    artifact_type: Option<Cow<'a, str>>,
    annotations: Option<&'a RawValue>,
}

/// Structure of a document, by its media type.
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
            _ if media_type.is_index() => Self::Index,
            _ => Self::Unknown,
        }
    }
}

impl<'a> Document<'a> {
    const fn new(reading: Reading) -> Self {
        Self {
            schema_version: None,
            media_type: None,
            artifact_type: None,
            config: Vec::new(),
            layers: None,
            manifests: None,
            blobs: Vec::new(),
            subject: None,
            annotations: None,
            reading,
        }
    }

    pub(super) fn parse(bytes: &'a [u8], reading: Reading) -> Result<Self, InvalidManifest> {
        let mut deserializer = serde_json::Deserializer::from_str(str::from_utf8(bytes)?);
        let document = deserializer
            .deserialize_map(DocumentVisitor(reading))
            .and_then(|document| deserializer.end().map(|()| document));
        document.map_err(|error| InvalidManifest::Json(InvalidJson::new(&error)))
    }

    /// Returns true if this is written as an index. Go writes null for an empty list; beside the fields of an image it
    /// counts as absent.
    pub(super) const fn has_manifests(&self) -> bool {
        match self.manifests {
            None => false,
            Some(None) => !self.has_image(),
            Some(Some(_)) => true,
        }
    }

    /// Returns true if this has the fields of an image.
    pub(super) const fn has_image(&self) -> bool {
        !self.config.is_empty() || matches!(self.layers, Some(Some(_)))
    }

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
}

fn digest(field: &'static str, descriptor: &RawDescriptor<'_>) -> Result<AnyDigest, InvalidManifest> {
    AnyDigest::parse(&descriptor.digest).map_err(|source| InvalidManifest::Digest {
        field,
        text: quoted(&descriptor.digest),
        source,
    })
}

/// Converts the descriptors of a field.
pub(super) fn children(
    field: &'static str,
    descriptors: Vec<RawDescriptor<'_>>,
    reading: Reading,
) -> Result<Vec<Child>, InvalidManifest> {
    let child = |descriptor: RawDescriptor<'_>| {
        let digest = digest(field, &descriptor)?;
        let (annotations, problem) = annotations(field, descriptor.annotations, reading)?;
        Ok(Child {
            media_type: MediaType::parse(&descriptor.media_type).ok(),
            digest,
            size: descriptor.size,
            artifact_type: descriptor
                .artifact_type
                .filter(|text| !text.is_empty())
                .map(Arc::from),
            annotations,
            urls: match field {
                "layers" | "blobs" => descriptor.urls.into_iter().map(Cow::into_owned).collect(),
                _ => Vec::new(),
            },
            problem: problem.map(Box::new),
        })
    };
    descriptors.into_iter().map(child).collect()
}

/// Reads annotations. Malformed ones refuse a pushed document. A stored one is read without them, and the
/// reason is returned.
pub(super) fn annotations(
    of: &'static str,
    json: Option<&RawValue>,
    reading: Reading,
) -> Result<(Option<Annotations>, Option<InvalidAnnotations>), InvalidManifest> {
    match json.map_or(Ok(None), Annotations::read) {
        Ok(annotations) => Ok((annotations, None)),
        Err(source) if reading == Reading::Pushed => Err(InvalidManifest::Annotations { of, source }),
        Err(problem) => Ok((None, Some(problem))),
    }
}

fn parse_type(text: &str) -> Result<MediaType, InvalidManifest> {
    MediaType::parse(text).map_err(|source| InvalidManifest::MediaType {
        text: quoted(text),
        source,
    })
}

/// Shortens a text of a document for an error message.
pub(super) fn quoted(text: &str) -> String {
    crate::text::cut(text.to_owned(), 128)
}

struct DocumentVisitor(Reading);

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let reading = self.0;
        let mut document = Document::new(reading);
        let mut keys = Keys::of(keys::DOCUMENT, reading);
        while let Some(key) = map.next_key_seed(&mut keys)? {
            let Some(Field { name, is_exact }) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let is_pushed = reading == Reading::Pushed;
            let list = |map: &mut A| value(map, name, is_exact, Nullable(List(Descriptor(reading))));
            match name {
                "schemaVersion" => {
                    let version = value(&mut map, name, is_pushed, PhantomData::<Option<u64>>)?;
                    document.schema_version = version.flatten().or(document.schema_version);
                }
                "mediaType" => set(
                    &mut document.media_type,
                    value(&mut map, name, is_pushed, Nullable(Text))?,
                ),
                "artifactType" => set(
                    &mut document.artifact_type,
                    value(&mut map, name, is_pushed, Nullable(Text))?,
                ),
                "config" => {
                    let config = value(&mut map, name, is_exact, Nullable(Descriptor(reading)))?;
                    document.config.extend(config.flatten());
                }
                "layers" => add(&mut document.layers, list(&mut map)?),
                "manifests" => add(&mut document.manifests, list(&mut map)?),
                "blobs" => document
                    .blobs
                    .extend(list(&mut map)?.flatten().unwrap_or_default()),
                "subject" => set(
                    &mut document.subject,
                    value(&mut map, name, is_exact, Nullable(Descriptor(reading)))?,
                ),
                _ => document.annotations = Some(map.next_value()?),
            }
        }
        Ok(document)
    }
}

/// Sets a field. Like in Go, null changes nothing.
fn set<T>(field: &mut Option<T>, value: Option<Option<T>>) {
    if let Some(Some(value)) = value {
        *field = Some(value);
    }
}

fn add<T>(field: &mut Option<Option<Vec<T>>>, list: Option<Option<Vec<T>>>) {
    if let Some(list) = list {
        let field = field.get_or_insert_default();
        if let Some(mut list) = list {
            field.get_or_insert_default().append(&mut list);
        }
    }
}

/// Deserializes a descriptor, which must be an object. An array of its values, in the order of the fields, is
/// not accepted.
#[derive(Clone, Copy)]
struct Descriptor(Reading);

impl<'de> DeserializeSeed<'de> for Descriptor {
    type Value = RawDescriptor<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Descriptor {
    type Value = RawDescriptor<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a descriptor, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let reading = self.0;
        let is_pushed = reading == Reading::Pushed;
        let (mut media_type, mut digest, mut size, mut urls) = (None, None, None, None);
        let (mut artifact_type, mut annotations) = (None, None);
        let mut keys = Keys::of(keys::DESCRIPTOR, reading);
        while let Some(key) = map.next_key_seed(&mut keys)? {
            let Some(Field { name, .. }) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            match name {
                "mediaType" => set(&mut media_type, value(&mut map, name, is_pushed, Text)?.map(Some)),
                "digest" => set(&mut digest, value(&mut map, name, is_pushed, Text)?.map(Some)),
                "size" => set(&mut size, value(&mut map, name, is_pushed, Size)?.map(Some)),
                "urls" => set(&mut urls, value(&mut map, name, is_pushed, Nullable(List(Text)))?),
                "artifactType" => set(
                    &mut artifact_type,
                    value(&mut map, name, is_pushed, Nullable(Text))?,
                ),
                "annotations" => annotations = Some(map.next_value()?),
                // Both are dropped. They are checked, because clients that cannot decode one refuse the manifest.
                "data" if is_pushed => {
                    value(&mut map, name, true, Nullable(Base64))?;
                }
                "platform" if is_pushed => {
                    value(&mut map, name, true, Nullable(Platform))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let (media_type, size) = match reading {
            Reading::Pushed => (
                media_type.ok_or_else(|| Error::missing_field("mediaType"))?,
                size.ok_or_else(|| Error::missing_field("size"))?,
            ),
            Reading::Stored => (media_type.unwrap_or_default(), size.unwrap_or_default()),
        };
        Ok(RawDescriptor {
            media_type,
            digest: digest.ok_or_else(|| Error::missing_field("digest"))?,
            size,
            urls: urls.unwrap_or_default(),
            artifact_type,
            annotations,
        })
    }
}

/// Checks the platform of an entry in a pushed document, and drops it.
struct Platform;

impl<'de> DeserializeSeed<'de> for Platform {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Platform {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a platform, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Keys::of(keys::PLATFORM, Reading::Pushed);
        while let Some(key) = map.next_key_seed(&mut keys)? {
            match key.map(|field| field.name) {
                Some(name @ ("os.features" | "features")) => {
                    value(&mut map, name, true, Nullable(List(Text)))?;
                }
                Some(name) => {
                    value(&mut map, name, true, Nullable(Text))?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}
