//! Documents in JSON whose bytes depend on nothing but their content.
//!
//! `serde_json` orders the keys of a map by a feature that any crate of a build may enable, so nothing here relies on it.

use super::parts::Part;
use serde_json::Value;
use std::collections::BTreeMap;

/// An object under construction; its keys are written in the order of the calls.
#[derive(Debug, Default)]
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a value that is JSON already.
    pub(super) fn json(mut self, key: &str, value: &str) -> Self {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&quoted(key));
        self.0.push(':');
        self.0.push_str(value);
        self
    }

    pub(super) fn text(self, key: &str, value: &str) -> Self {
        self.json(key, &quoted(value))
    }

    /// Adds a text, if there is one.
    pub(super) fn maybe(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    pub(super) fn list(self, key: &str, values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<_> = values.into_iter().collect();
        self.json(key, &format!("[{}]", values.join(",")))
    }

    /// Adds annotations, unless there are none.
    pub(super) fn annotations(self, annotations: &BTreeMap<String, String>) -> Self {
        if annotations.is_empty() {
            return self;
        }
        let pairs = annotations.iter();
        let written = pairs.fold(Self::new(), |object, (key, value)| object.text(key, value));
        self.json("annotations", &written.finish())
    }

    pub(super) fn finish(mut self) -> String {
        if self.0.is_empty() {
            self.0.push('{');
        }
        self.0.push('}');
        self.0
    }
}

/// Begins a manifest of this media type.
pub(super) fn manifest(media_type: &str) -> Object {
    Object::new()
        .json("schemaVersion", "2")
        .text("mediaType", media_type)
}

/// Begins the descriptor of some content.
pub(super) fn descriptor(part: &Part) -> Object {
    Object::new()
        .text("mediaType", &part.media_type)
        .text("digest", &part.digest.to_string())
        .json("size", &part.bytes.len().to_string())
}

/// Returns true if all numbers in a value are integers. How others are written depends on a feature of `serde_json`, too.
pub(super) fn has_only_integers(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Array(items) => items.iter().all(has_only_integers),
        Value::Object(members) => members.values().all(has_only_integers),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Writes a value without blanks, the keys of its objects in the order of their bytes.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let members = members.into_iter();
            let written = members.fold(Object::new(), |object, (key, value)| {
                object.json(key, &canonical(value))
            });
            written.finish()
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}
