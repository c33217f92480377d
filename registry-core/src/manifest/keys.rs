//! Keys of a manifest's objects, as every client reads them.
//!
//! Clients in Go match keys with fields regardless of case, and the last of several equal keys counts. They
//! thus read such a document differently from other clients: GHSA-77vh-xpmg-72qh. Therefore a key that they
//! match with a known field must be exactly that field, and must appear once. Unknown keys are ignored.

use serde_core::de::{DeserializeSeed, Deserializer, Error, Visitor};
use std::fmt;

/// Fields of one kind of object, at most 16.
pub(super) type Fields = &'static [&'static str];

/// Fields of manifests and indexes, of OCI and of Docker.
pub(super) const DOCUMENT: Fields = &[
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "annotations",
];

pub(super) const DESCRIPTOR: Fields = &[
    "mediaType",
    "digest",
    "size",
    "urls",
    "annotations",
    "data",
    "artifactType",
    "platform",
];

/// Fields of the platform in an entry of an index. `features` is Docker's.
pub(super) const PLATFORM: Fields = &[
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "features",
];

/// Strictness with which a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A pushed document: by the rules of the specification.
    Pushed,
    /// A stored document, accepted earlier under unknown rules: as Go reads it.
    Stored,
}

/// Known field that a key matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// True if the key equals its name exactly, including case.
    pub(super) is_exact: bool,
}

/// Reader for the keys of one object, one after another.
pub(super) struct Keys {
    fields: Fields,
    reading: Reading,
    /// Bit set of the fields that were found.
    seen: u16,
}

impl Keys {
    pub(super) const fn of(fields: Fields, reading: Reading) -> Self {
        Self {
            fields,
            reading,
            seen: 0,
        }
    }

    fn find(&mut self, key: &str) -> Result<Option<Field>, String> {
        let position = |is: fn(&str, &str) -> bool| self.fields.iter().position(|field| is(key, field));
        let exact = position(|key, field| key == field);
        let Some(index) = exact.or_else(|| position(folds_to)) else {
            return Ok(None);
        };
        let name = self.fields.get(index).copied().unwrap_or_default();
        let bit = 1 << index;
        if self.reading == Reading::Pushed {
            if exact.is_none() {
                return Err(format!("some clients read the key {key:?} as `{name}`"));
            }
            if self.seen & bit != 0 {
                return Err(format!("the key `{name}` appears twice"));
            }
        }
        self.seen |= bit;
        Ok(Some(Field {
            name,
            is_exact: exact.is_some(),
        }))
    }
}

impl<'de> DeserializeSeed<'de> for &mut Keys {
    /// Known field, or `None` for another key.
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.reading {
            Reading::Pushed => deserializer.deserialize_str(self),
            // Bytes, because Go accepts unpaired surrogates in a key. Such a key matches no field.
            Reading::Stored => deserializer.deserialize_bytes(self),
        }
    }
}

impl Visitor<'_> for &mut Keys {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        self.find(key).map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Self::Value, E> {
        self.visit_str(&String::from_utf8_lossy(key))
    }
}

/// Returns true if Go matches `key` with `field`: equal by Unicode's simple case folding, in which two
/// letters beyond ASCII fold to ASCII letters.
fn folds_to(key: &str, field: &str) -> bool {
    let mut expected = field.bytes();
    let fold = |char: char| match char {
        '\u{17f}' => b's',
        '\u{212a}' => b'k',
        other => u8::try_from(other).map_or(0, |byte| byte.to_ascii_lowercase()),
    };
    key.chars()
        .all(|char| expected.next().map(|byte| byte.to_ascii_lowercase()) == Some(fold(char)))
        && expected.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_folds_to_a_field_as_in_go() {
        for (key, field, folds) in [
            ("manifests", "manifests", true),
            ("Manifests", "manifests", true),
            ("MANIFESTS", "manifests", true),
            ("manife\u{17f}ts", "manifests", true),
            ("platform", "platform", true),
            ("\u{212a}ey", "key", true),
            ("OS.Version", "os.version", true),
            ("manifest", "manifests", false),
            ("manifestss", "manifests", false),
            ("manifests ", "manifests", false),
            ("", "manifests", false),
            ("m\u{e4}nifests", "manifests", false),
            ("D\u{131}gest", "digest", false),
            ("os-version", "os.version", false),
        ] {
            assert_eq!(folds_to(key, field), folds, "{key:?}, {field:?}");
        }
    }

    #[test]
    fn no_kind_of_object_has_more_fields_than_bits_or_two_that_fold_to_each_other() {
        for fields in [DOCUMENT, DESCRIPTOR, PLATFORM] {
            assert!(fields.len() <= 16);
            for field in fields {
                assert_eq!(fields.iter().filter(|other| folds_to(field, other)).count(), 1);
            }
        }
    }
}
