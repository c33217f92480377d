//! A configuration as a tree of values, each of which knows where it comes from.

use std::{fmt, path::Path, sync::Arc};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        /// As it was named on the command line.
        path: Arc<Path>,
        line: u64,
    },
    /// An environment variable, by its name.
    Variable(Arc<str>),
    /// A flag of the command line, with its dashes.
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

/// A value, and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Value {
    pub(crate) origin: Origin,
    pub(crate) content: Content,
}

/// What a value is. Scalars keep their text: whether `0123` is a number is for whoever reads it to say.
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

    /// Whether it says nothing: null, or a list, section or text without anything in it.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.content {
            Content::Null => true,
            Content::Scalar(text) => text.is_empty(),
            Content::List(list) => list.is_empty(),
            Content::Map(map) => map.0.iter().all(|(_, value)| value.is_empty()),
        }
    }

    /// Everything that it says, for a place that has one line.
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

    /// What it is, for an error.
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

    /// The value at `key`, made by `absent` if there is none.
    pub(crate) fn entry(&mut self, key: &str, absent: impl FnOnce() -> Value) -> &mut Value {
        let index = self.0.iter().position(|(name, _)| name == key);
        let index = index.unwrap_or_else(|| {
            self.0.push((key.to_owned(), absent()));
            self.0.len() - 1
        });
        let (_, value) = self.0.get_mut(index).expect("the entry was found or pushed");
        value
    }

    /// Sets `key`, in the place where it stands if it does.
    pub(crate) fn set(&mut self, key: &str, value: Value) {
        *self.entry(key, || Value {
            origin: Origin::Default,
            content: Content::Null,
        }) = value;
    }
}
