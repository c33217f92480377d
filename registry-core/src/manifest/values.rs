//! Values of a manifest's fields, in the types that clients can decode.

use serde_core::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Unexpected, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// Reads the value of a field; an error names the field. Unless `must_fit` is set, a value of the wrong type counts as
/// missing.
pub(super) fn value<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
    map: &mut A,
    field: &str,
    must_fit: bool,
    seed: S,
) -> Result<Option<S::Value>, A::Error> {
    if must_fit {
        // `custom` takes line and column from the end of the message.
        let within = |error| A::Error::custom(format_args!("`{field}`: {error}"));
        return map.next_value_seed(seed).map(Some).map_err(within);
    }
    let raw: &'de RawValue = map.next_value()?;
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    Ok(seed.deserialize(&mut deserializer).ok())
}

/// Deserializes a value or null.
pub(super) struct Nullable<S>(pub(super) S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Nullable<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// Deserializes a list of values that `S` reads.
#[derive(Clone, Copy)]
pub(super) struct List<S>(pub(super) S);

impl<'de, S: DeserializeSeed<'de> + Copy> DeserializeSeed<'de> for List<S> {
    type Value = Vec<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Copy> Visitor<'de> for List<S> {
    type Value = Vec<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = sequence.next_element_seed(self.0)? {
            list.push(item);
        }
        Ok(list)
    }
}

/// Deserializes a number of bytes. Clients in Go cannot decode one of more than 63 bits.
#[derive(Clone, Copy)]
pub(super) struct Size;

impl<'de> DeserializeSeed<'de> for Size {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for Size {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, of at most 63 bits")
    }

    fn visit_u64<E: Error>(self, size: u64) -> Result<u64, E> {
        match i64::try_from(size) {
            Ok(_) => Ok(size),
            Err(_) => Err(E::invalid_value(Unexpected::Unsigned(size), &self)),
        }
    }
}

/// Checks bytes in base64 (RFC 4648, section 4), and drops them.
#[derive(Clone, Copy)]
pub(super) struct Base64;

impl<'de> DeserializeSeed<'de> for Base64 {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Base64 {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string of bytes in base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if is_base64(text) {
            return Ok(());
        }
        Err(E::custom("this string is not base64"))
    }
}

/// Returns true for what clients in Go decode: with padding, and with line ends anywhere.
fn is_base64(text: &str) -> bool {
    let (mut digits, mut padding) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'\r' | b'\n' => {}
            b'=' => padding += 1,
            b'+' | b'/' => digits += 1,
            _ if byte.is_ascii_alphanumeric() => digits += 1,
            _ => return false,
        }
        if padding > 0 && byte != b'=' && !matches!(byte, b'\r' | b'\n') {
            return false;
        }
    }
    padding <= 2 && (digits + padding).is_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_what_go_decodes() {
        for text in ["", "YQ==", "YWI=", "YWJj", "YWJjZA==", "+/+/", "YWJj\nYWJj\r\n"] {
            assert!(is_base64(text), "{text:?}");
        }
        for text in [
            "a",
            "YQ",
            "YQ=",
            "Y===",
            "====",
            "YQ==YQ==",
            "YW-_",
            "YW Jj",
            "YWJ\u{e4}",
        ] {
            assert!(!is_base64(text), "{text:?}");
        }
    }
}
