//! [`Annotations`]: map of names to strings.
//!
//! Specification: image-spec, "Annotations".

use crate::{
    json::{InvalidJson, Text},
    text::cut,
};
use serde_core::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
    str::FromStr,
    sync::Arc,
};

/// Annotations of a manifest: a map of names to strings, kept as it was written.
///
/// ```
/// use registry_core::Annotations;
///
/// let annotations: Annotations = r#"{"org.example.name":"signature"}"#.parse()?;
/// assert_eq!(annotations.to_map()["org.example.name"], "signature");
/// assert!(r#"{"org.example.number":5}"#.parse::<Annotations>().is_err());
/// # Ok::<(), registry_core::annotations::InvalidAnnotations>(())
/// ```
#[derive(Clone)]
pub struct Annotations {
    /// JSON object of strings, with distinct names.
    json: Arc<RawValue>,
    len: usize,
}

/// Error for annotations that are not a JSON object of strings with distinct names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("annotations must be an object of strings: {0}")]
pub struct InvalidAnnotations(InvalidJson);

impl Annotations {
    /// Returns the number of annotations.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no annotations.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the JSON object as it was written.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.json.get()
    }

    /// Returns the text of an annotation, without reading the others into memory.
    ///
    /// ```
    /// use registry_core::Annotations;
    ///
    /// let annotations: Annotations = r#"{"org.example.name":"signature"}"#.parse()?;
    /// assert_eq!(annotations.get("org.example.name").as_deref(), Some("signature"));
    /// assert_eq!(annotations.get("org.example.other"), None);
    /// # Ok::<(), registry_core::annotations::InvalidAnnotations>(())
    /// ```
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        // The JSON was checked when the annotations were read.
        let mut deserializer = serde_json::Deserializer::from_str(self.as_json());
        deserializer.deserialize_map(Find(name)).unwrap_or_default()
    }

    /// Returns the annotations by their names.
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, String> {
        // The JSON was checked when the annotations were read.
        serde_json::from_str(self.as_json()).unwrap_or_default()
    }

    pub(crate) fn raw(&self) -> &RawValue {
        &self.json
    }

    /// Reads annotations from a JSON value. Returns `None` for null.
    pub(crate) fn read(json: &RawValue) -> Result<Option<Self>, InvalidAnnotations> {
        Ok(Self::check(json)?.map(|len| Self {
            json: json.to_owned().into(),
            len,
        }))
    }

    /// Checks the annotations and returns their number, or `None` for null.
    pub(crate) fn check(json: &RawValue) -> Result<Option<usize>, InvalidAnnotations> {
        if json.get() == "null" {
            return Ok(None);
        }
        let mut deserializer = serde_json::Deserializer::from_str(json.get());
        let len = deserializer.deserialize_map(Strings);
        len.map(Some)
            .map_err(|error| InvalidAnnotations(InvalidJson::new(&error)))
    }
}

impl FromStr for Annotations {
    type Err = InvalidAnnotations;

    fn from_str(json: &str) -> Result<Self, InvalidAnnotations> {
        let invalid = |error| InvalidAnnotations(InvalidJson::new(&error));
        let read = Self::read(serde_json::from_str(json).map_err(invalid)?)?;
        read.ok_or_else(|| InvalidAnnotations(InvalidJson::new(&Error::custom("null is not an object"))))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Annotations {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(annotations: I) -> Self {
        let pairs = annotations.into_iter();
        let map: BTreeMap<String, String> = pairs.map(|(name, text)| (name.into(), text.into())).collect();
        let json = serde_json::value::to_raw_value(&map).expect("strings by name are JSON");
        Self {
            json: json.into(),
            len: map.len(),
        }
    }
}

impl fmt::Debug for Annotations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}

/// Annotations are equal if their texts are.
impl PartialEq for Annotations {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Annotations {}

/// Checks that the values are strings with distinct names, and counts them.
struct Strings;

impl<'de> Visitor<'de> for Strings {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = map.next_key_seed(Text)? {
            map.next_value_seed(Value(&name))?;
            if let Some(twice) = names.replace(name) {
                return Err(Error::custom(format!("{} appears twice", quoted(&twice))));
            }
        }
        Ok(names.len())
    }
}

/// Finds the annotation of this name.
struct Find<'a>(&'a str);

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = map.next_key_seed(Text)? {
            let text = map.next_value_seed(Text)?;
            if name == self.0 {
                found = Some(text);
            }
        }
        Ok(found)
    }
}

/// Checks the value of the annotation of this name.
struct Value<'a>(&'a Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string for {}", quoted(self.0))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

fn quoted(name: &str) -> String {
    format!("{:?}", cut(name.to_owned(), 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_strings_each_under_a_name_of_its_own() {
        for (json, problem) in [
            (r#"{"c":5}"#, r#"expected a string for "c""#),
            (r#"{"a":"b","c":null}"#, r#"expected a string for "c""#),
            (r#"{"c":["d"]}"#, r#"expected a string for "c""#),
            (r#"{"a":"1","b":"2","\u0061":"3"}"#, r#""a" appears twice"#),
            (r#"{"a":"\ud800"}"#, "hex escape"),
            (r#"{"\udc00":"a"}"#, "hex escape"),
            ("[]", "expected a JSON object"),
            (r#""text""#, "expected a JSON object"),
            ("null", "null is not an object"),
            ("{}{}", "trailing"),
            ("{", "EOF"),
            ("", "EOF"),
        ] {
            let message = json.parse::<Annotations>().unwrap_err().to_string();
            assert!(message.contains(problem), "{json}: {message}");
        }
        let long = format!(r#"{{"{0}":"1","{0}":"2"}}"#, "x".repeat(1 << 20));
        assert!(long.parse::<Annotations>().unwrap_err().to_string().len() < 256);
    }

    #[test]
    fn an_annotation_is_found_by_its_name_however_it_is_written() {
        let annotations: Annotations = r#"{"\u0061":"\u00e4", "b" : "", "c":"x"}"#.parse().unwrap();

        for (name, text) in [("a", Some("ä")), ("b", Some("")), ("c", Some("x")), ("d", None)] {
            assert_eq!(annotations.get(name).as_deref(), text, "{name}");
        }
        assert!(matches!(annotations.get("c"), Some(Cow::Borrowed("x"))));
    }

    #[test]
    fn annotations_stay_as_they_were_written() {
        let json = r#"{ "b" : "\u00e4\ud83d\ude00", "a":"" }"#;

        let annotations: Annotations = json.parse().unwrap();

        assert_eq!((annotations.as_json(), annotations.len()), (json, 2));
        assert_eq!(
            annotations.to_map().into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), String::new()), ("b".into(), "ä😀".into())]
        );
        let made: Annotations = [("b", "ä😀"), ("a", "")].into_iter().collect();
        assert_eq!(made.as_json(), r#"{"a":"","b":"ä😀"}"#);
    }
}
