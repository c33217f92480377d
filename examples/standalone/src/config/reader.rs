//! Typed values from the tree. What cannot be read is a problem with its place, and reading goes on.

use super::{
    Notice, Problem,
    keys::{self, Key},
    units,
    value::{Content, Map, Origin, Value},
};
use std::{cell::RefCell, path::PathBuf, time::Duration};

/// Reads the keys of a tree. Each path has to be in the table, from which the default comes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    root: &'a Value,
    problems: RefCell<Vec<Problem>>,
    /// Which keys were asked for: the table's honoured ones, and no others.
    read: RefCell<Vec<&'static str>>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(root: &'a Value) -> Self {
        Self {
            root,
            problems: RefCell::new(Vec::new()),
            read: RefCell::new(Vec::new()),
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    #[cfg(test)]
    pub(super) fn keys_read(&self) -> Vec<&'static str> {
        self.read.borrow().clone()
    }

    /// The value that somebody gave, as it stands.
    pub(super) fn given(&self, path: &'static str) -> Option<&'a Value> {
        self.read.borrow_mut().push(path);
        lookup(self.root, path)
    }

    pub(super) fn problem(&self, origin: &Origin, path: &str, message: impl Into<String>) {
        let problem = Problem::new(origin.clone(), path, message);
        let mut problems = self.problems.borrow_mut();
        // A key that is read twice is wrong once.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// A scalar that `parse` understands; `None` if nobody gave one, and after a problem.
    pub(super) fn optional<T>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.given(path)?;
        let read = match &value.content {
            Content::Null => return None,
            Content::Scalar(text) => parse(text).map_err(|why| {
                if keys::key(path).is_some_and(|key| key.form == keys::Form::Secret) {
                    why
                } else {
                    format!("`{text}`: {why}")
                }
            }),
            Content::List(_) | Content::Map(_) => {
                Err(format!("it is {}, and has to be a single value", value.kind()))
            }
        };
        read.map_err(|message| self.problem(&value.origin, path, message))
            .ok()
    }

    /// A scalar, or the table's default.
    fn scalar<T>(&self, path: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.optional(path, &parse).unwrap_or_else(|| {
            let default = keys::key(path).map_or("", |key| key.default);
            parse(default).expect("the table's defaults have the form of their key")
        })
    }

    pub(super) fn parsed<T>(&self, path: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        self.scalar(path, parse)
    }

    pub(super) fn text(&self, path: &'static str) -> String {
        self.scalar(path, |text| Ok(text.to_owned()))
    }

    /// The name of a file or a directory that is not empty.
    pub(super) fn path(&self, path: &'static str) -> Option<PathBuf> {
        self.optional(path, |text| Ok(PathBuf::from(text)))
            .filter(|path| !path.as_os_str().is_empty())
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, path: &'static str) -> Option<String> {
        self.optional(path, |text| Ok(text.to_owned()))
            .filter(|text| !text.is_empty())
    }

    /// The texts of a list that are not empty; a single one is a list of one.
    pub(super) fn list(&self, path: &'static str) -> Vec<String> {
        let texts = self.given(path).map(|value| self.texts(value, path));
        let texts = texts.unwrap_or_default().into_iter().map(|(text, _)| text);
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    /// The entries of a section whose names are the user's own.
    pub(super) fn named(&self, path: &'static str) -> Vec<(&'a str, &'a Value)> {
        self.read.borrow_mut().push(path);
        let section = path.strip_suffix(".*").unwrap_or(path);
        match lookup(self.root, section).map(|value| &value.content) {
            Some(Content::Map(map)) => map.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The scalars of a list, numbers and switches as they are spelled; a single one is a list of one.
    pub(super) fn texts(&self, value: &'a Value, path: &str) -> Vec<(&'a str, &'a Origin)> {
        let items = match &value.content {
            Content::List(items) => items.iter().collect(),
            Content::Null => Vec::new(),
            _ => vec![value],
        };
        items
            .into_iter()
            .filter_map(|item| match &item.content {
                Content::Scalar(text) => Some((text.as_str(), &item.origin)),
                _ => {
                    self.problem(
                        &item.origin,
                        path,
                        format!("it is {}, and has to be a single value", item.kind()),
                    );
                    None
                }
            })
            .collect()
    }

    /// A list, of which each item is one that `parse` understands; `None` if nobody gave one.
    pub(super) fn items<T>(
        &self,
        path: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let value = self.given(path)?;
        let mut items = Vec::new();
        for (text, origin) in self.texts(value, path) {
            match parse(text) {
                Ok(item) => items.push(item),
                Err(why) => self.problem(origin, path, why),
            }
        }
        (value.content != Content::Null).then_some(items)
    }

    pub(super) fn switch(&self, path: &'static str) -> bool {
        self.scalar(path, units::switch)
    }

    pub(super) fn count(&self, path: &'static str) -> usize {
        self.scalar(path, units::count)
    }

    pub(super) fn size(&self, path: &'static str) -> u64 {
        self.scalar(path, units::size)
    }

    pub(super) fn duration(&self, path: &'static str) -> Duration {
        self.scalar(path, units::duration)
    }
}

impl<'a> Reader<'a> {
    /// The sections of a list; a single one is a list of one.
    pub(super) fn sections(&self, path: &'static str) -> Vec<Section<'_, 'a>> {
        let items = match self.given(path).map(|value| (&value.content, value)) {
            None | Some((Content::Null, _)) => Vec::new(),
            Some((Content::List(items), _)) => items.iter().collect(),
            Some((_, value)) => vec![value],
        };
        let section = |(index, value): (usize, &'a Value)| {
            let place = format!("{path}[{index}]");
            match &value.content {
                Content::Map(map) => Some(Section {
                    reader: self,
                    place,
                    origin: &value.origin,
                    map,
                    read: RefCell::new(Vec::new()),
                }),
                _ => {
                    let what = format!("it is {}, and has to be a section", value.kind());
                    self.problem(&value.origin, &place, what);
                    None
                }
            }
        };
        items.into_iter().enumerate().filter_map(section).collect()
    }

    /// A section as it stands.
    pub(super) fn section(&self, path: &str) -> Option<&'a Value> {
        lookup(self.root, path)
    }
}

/// An item of a list, with names of its own that the table does not have.
#[derive(Debug)]
pub(super) struct Section<'r, 'a> {
    reader: &'r Reader<'a>,
    place: String,
    origin: &'a Origin,
    map: &'a Map,
    read: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'_, 'a> {
    fn given(&self, name: &'static str) -> Option<&'a Value> {
        self.read.borrow_mut().push(name);
        self.map.get(name)
    }

    /// A scalar that `parse` understands; `None` if nobody gave one, and after a problem.
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.given(name)?;
        let read = match &value.content {
            Content::Null => return None,
            Content::Scalar(text) => parse(text).map_err(|why| format!("`{text}`: {why}")),
            Content::List(_) | Content::Map(_) => {
                Err(format!("it is {}, and has to be a single value", value.kind()))
            }
        };
        read.map_err(|why| self.reader.problem(&value.origin, &self.at(name), why))
            .ok()
    }

    /// The same, and it is a problem if nobody gave one.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.map.get(name).is_none_or(Value::is_empty) {
            self.problem(name, "it is missing");
        }
        self.optional(name, parse)
    }

    /// The texts below a name, each with the name that it has there.
    pub(super) fn texts(&self, name: &'static str) -> Vec<(&'a str, &'a str)> {
        let Some(Content::Map(map)) = self.given(name).map(|value| &value.content) else {
            return Vec::new();
        };
        let place = self.at(name);
        map.iter()
            .flat_map(|(name, value)| {
                let texts = self.reader.texts(value, &place);
                texts.into_iter().map(move |(text, _)| (name, text))
            })
            .collect()
    }

    pub(super) fn problem(&self, name: &str, what: &str) {
        self.reader.problem(self.origin, &self.at(name), what);
    }

    /// What stands there and nobody has asked for.
    pub(super) fn unknown(&self) -> Vec<Notice> {
        let read = self.read.borrow();
        self.map
            .iter()
            .filter(|(name, _)| !read.contains(name))
            .map(|(name, value)| {
                let message = format!("{}: there is no such key; ignored", self.at(name));
                Notice::new(value.origin.clone(), message)
            })
            .collect()
    }

    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }
}

impl Reader<'_> {
    /// Holds a section to one entry at most.
    pub(super) fn at_most_one_of(&self, section: &'static str) {
        if let Some(value) = lookup(self.root, section)
            && let Content::Map(map) = &value.content
        {
            let names: Vec<&str> = map.iter().map(|(name, _)| name).collect();
            if names.len() > 1 {
                self.problem(
                    &value.origin,
                    section,
                    format!("there can be only one of {}", names.join(", ")),
                );
            }
        }
    }

    /// A problem of a section that is there.
    pub(super) fn lacks(&self, section: &'static str, what: &str) {
        if let Some(value) = lookup(self.root, section)
            && (!value.is_empty() || section.starts_with("auth"))
        {
            self.problem(&value.origin, section, what);
        }
    }

    /// Holds a section to exactly one entry beside those in `aside`.
    pub(super) fn one_of(&self, section: &'static str, aside: &[&str], none: &str) {
        let value = lookup(self.root, section);
        let names: Vec<&str> = match value.map(|value| &value.content) {
            Some(Content::Map(map)) => map
                .iter()
                .map(|(name, _)| name)
                .filter(|name| !aside.contains(name))
                .collect(),
            _ => Vec::new(),
        };
        let origin = value.map_or(&Origin::Default, |value| &value.origin);
        if names.is_empty() {
            self.problem(origin, section, none);
        }
        // A name that there is not is a problem of its own already.
        let known = keys::below(&[section]);
        let names: Vec<&str> = names.into_iter().filter(|name| known.contains(name)).collect();
        if names.len() > 1 {
            self.problem(
                origin,
                section,
                format!("there has to be exactly one of {}", names.join(", ")),
            );
        }
    }
}

/// What stands at a path of plain names.
pub(super) fn lookup<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(root, |value, name| match &value.content {
            Content::Map(map) => map.get(name),
            _ => None,
        })
}

/// Whether what a key is about is there at all, for keys whose default counts only then.
pub(super) fn section_given(root: &Value, key: &Key) -> bool {
    if key.path == "http.tls.clientauth" {
        return lookup(root, "http.tls.clientcas").is_some_and(|authorities| !authorities.is_empty());
    }
    let sections = [
        "storage.filesystem",
        "auth.htpasswd",
        "http.debug",
        "http.tls",
        "http.tls.letsencrypt",
    ];
    sections
        .iter()
        .filter(|section| key.path.starts_with(&format!("{section}.")))
        .all(|section| lookup(root, section).is_some())
}
