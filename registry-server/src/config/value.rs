//! A configuration as a tree of values, each with its origin.

use std::{fmt, path::Path, sync::Arc};

/// Origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Built-in default.
    Default,
    /// Line of the configuration file, counted from 1.
    File {
        /// Path as given on the command line.
        path: Arc<Path>,
        line: u64,
    },
    /// Name of an environment variable.
    Variable(Arc<str>),
    /// Command-line flag, with its dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// Value with its origin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) origin: Origin,
    pub(crate) content: Content,
}

/// Content of a value. Scalars keep their text; the reader of a key decides whether `0123` is a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    Null,
    Scalar(String),
    List(Vec<Value>),
    Map(Map),
}

/// Entries in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Map(Vec<(String, Value)>);

impl Value {
    pub(crate) fn scalar(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            origin,
            content: Content::Scalar(text.into()),
        }
    }

    /// Returns true if the value is null, or an empty list, section or text. A section of empty values is empty.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.content {
            Content::Null => true,
            Content::Scalar(text) => text.is_empty(),
            Content::List(list) => list.is_empty(),
            Content::Map(map) => map.0.iter().all(|(_, value)| value.is_empty()),
        }
    }

    /// Renders the value on a single line.
    pub(crate) fn in_one_line(&self) -> String {
        match &self.content {
            Content::Null => String::new(),
            Content::Scalar(text) => text.clone(),
            Content::List(list) => {
                let items: Vec<String> = list.iter().map(Self::in_one_line).collect();
                items.join(",")
            }
            Content::Map(map) => {
                let entries = map
                    .iter()
                    .map(|(key, value)| format!("{key}:{}", value.in_one_line()));
                entries.collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Names the kind of value, for an error message.
    pub(crate) const fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a section",
        }
    }
}

impl Map {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.iter()
            .find_map(|(name, value)| (name == key).then_some(value))
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Returns the value at `key`, inserting the one that `absent` makes if there is none.
    pub(crate) fn entry(&mut self, key: &str, absent: impl FnOnce() -> Value) -> &mut Value {
        let index = self.0.iter().position(|(name, _)| name == key);
        let index = index.unwrap_or_else(|| {
            self.0.push((key.to_owned(), absent()));
            self.0.len() - 1
        });
        let (_, value) = self.0.get_mut(index).expect("the entry was found or pushed");
        value
    }

    /// Sets `key`. An existing key keeps its position.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        *self.entry(key, || Value {
            origin: Origin::Default,
            content: Content::Null,
        }) = value;
    }
}
