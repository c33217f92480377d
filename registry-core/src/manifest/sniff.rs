//! Media type of a document that was stored without one.

use super::{
    keys::{self, Field, Keys, Reading},
    values::{Nullable, value},
};
use crate::{json::Text, media_type::MediaType};
use serde_core::{
    Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// Fields that determine the media type of a document.
#[derive(Default)]
struct Sniffed {
    own: Option<MediaType>,
    has_manifests: bool,
}

/// Returns the media type that registry:2 gives to a document. See
/// [`Manifest::sniff_media_type`](super::Manifest::sniff_media_type).
pub(super) fn media_type(bytes: &[u8]) -> MediaType {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = deserializer
        .deserialize_map(SniffedVisitor)
        .and_then(|sniffed| deserializer.end().map(|()| sniffed));
    let sniffed = read.unwrap_or_default();
    let guess = if sniffed.has_manifests {
        MediaType::OCI_INDEX
    } else {
        MediaType::OCI_MANIFEST
    };
    sniffed.own.unwrap_or_else(|| MediaType::known(guess))
}

struct SniffedVisitor;

impl<'de> Visitor<'de> for SniffedVisitor {
    type Value = Sniffed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut sniffed = Sniffed::default();
        let mut keys = Keys::of(keys::DOCUMENT, Reading::Stored);
        while let Some(key) = map.next_key_seed(&mut keys)? {
            match key.map(|Field { name, .. }| name) {
                Some(name @ "mediaType") => {
                    if let Some(Some(own)) = value(&mut map, name, false, Nullable(Text))? {
                        sniffed.own = MediaType::parse(&own).ok();
                    }
                }
                Some("manifests") => {
                    let manifests: &RawValue = map.next_value()?;
                    sniffed.has_manifests = manifests.get() != "null";
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(sniffed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_tells_its_type_or_it_is_guessed_as_in_registry_2() {
        for (document, expected) in [
            (
                r#"{"mediaType":"application/x+json","manifests":[]}"#,
                "application/x+json",
            ),
            (r#"{"schemaVersion":2,"manifests":[]}"#, MediaType::OCI_INDEX),
            (r#"{"schemaVersion":2,"manifests":[{}]}"#, MediaType::OCI_INDEX),
            (r#"{"schemaVersion":2,"manifests":null}"#, MediaType::OCI_MANIFEST),
            (
                r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
                MediaType::OCI_MANIFEST,
            ),
            (r#"{"mediaType":5,"manifests":[]}"#, MediaType::OCI_INDEX),
            (r#"{"mediaType":"","manifests":[]}"#, MediaType::OCI_INDEX),
            (
                r#"{"mediaType":"application/x+json","layers":"none"}"#,
                "application/x+json",
            ),
            (r#"{"MediaType":"application/x+json"}"#, "application/x+json"),
            ("no JSON at all", MediaType::OCI_MANIFEST),
            (r#"{"manifests":[]}{}"#, MediaType::OCI_MANIFEST),
        ] {
            assert_eq!(media_type(document.as_bytes()).as_str(), expected, "{document}");
        }
    }
}
