//! The fields of a JSON object, read one by one: [`Fields`].

use serde_json::{Map, Value};
use std::fmt;

/// An object whose fields are taken out as they are read.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

/// A field that cannot be read, by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadField(String);

impl Fields {
    pub(super) const fn new(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// Refuses fields other than those known.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), BadField> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(unknown) => {
                let known = known.join("`, `");
                Err(BadField(format!(
                    "unknown field `{unknown}`; known are `{known}`"
                )))
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// Takes an object, if the field is one.
    pub(super) fn object(&mut self, name: &str) -> Option<Self> {
        match self.0.get_mut(name)?.take() {
            Value::Object(object) => {
                self.0.remove(name);
                Some(Self(object))
            }
            other => {
                self.0.insert(name.to_owned(), other);
                None
            }
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, BadField> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(BadField::in_field(name, "must be a text")),
        }
    }

    /// Takes a text and parses it.
    pub(super) fn parsed<T, E: fmt::Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, BadField> {
        let text = self.text(name)?;
        let parsed = text.map(|text| parse(&text)).transpose();
        parsed.map_err(|error| BadField::in_field(name, &error))
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<u64>, BadField> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(BadField::in_field(name, "must be a whole number, at least 0")),
            },
        }
    }

    /// Takes a number of requests.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<usize>, BadField> {
        match self.number(name)?.map(usize::try_from) {
            None => Ok(None),
            Some(Ok(count)) if count > 0 => Ok(Some(count)),
            Some(_) => Err(BadField::in_field(
                name,
                "must be a number of requests, at least 1",
            )),
        }
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, BadField> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(BadField::in_field(name, "must be a whole number")),
            },
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, BadField> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(BadField::in_field(name, "must be true or false")),
        }
    }
}

impl BadField {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    pub(super) fn in_field(name: &str, reason: &(impl fmt::Display + ?Sized)) -> Self {
        Self(format!("`{name}`: {reason}"))
    }
}

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
