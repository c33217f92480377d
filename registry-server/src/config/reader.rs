//! Reads typed values from the tree. A value that cannot be read becomes a problem, and reading continues.

use super::{
    keys::{self, Key},
    notice::Notice,
    problem::Problem,
    units,
    value::{Content, Map, Origin, Value},
};
use std::{cell::RefCell, path::PathBuf, time::Duration};

/// Reader of the keys of a tree. Each path must be in the table, which has the default.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    root: &'a Value,
    problems: RefCell<Vec<Problem>>,
    /// Keys that were read: exactly the honoured ones of the table.
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

    /// Returns the configured value, without the default.
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

    /// Reads a scalar by `parse`; `None` if it is missing or has a problem.
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
                Err(format!("must be a single value, but is {}", value.kind()))
            }
        };
        read.map_err(|message| self.problem(&value.origin, path, message))
            .ok()
    }

    /// Reads a scalar, or the default in the table.
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

    /// Reads a path; `None` if it is empty.
    pub(super) fn path(&self, path: &'static str) -> Option<PathBuf> {
        self.optional(path, |text| Ok(PathBuf::from(text)))
            .filter(|path| !path.as_os_str().is_empty())
    }

    /// Reads a text; `None` if it is empty.
    pub(super) fn filled(&self, path: &'static str) -> Option<String> {
        self.optional(path, |text| Ok(text.to_owned()))
            .filter(|text| !text.is_empty())
    }

    /// Reads the texts of a list that are not empty. A single text is a list of one.
    pub(super) fn list(&self, path: &'static str) -> Vec<String> {
        let texts = self.given(path).map(|value| self.texts(value, path));
        let texts = texts.unwrap_or_default().into_iter().map(|(text, _)| text);
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    /// Returns the entries of a section whose names the user chooses.
    pub(super) fn named(&self, path: &'static str) -> Vec<(&'a str, &'a Value)> {
        self.read.borrow_mut().push(path);
        let section = path.strip_suffix(".*").unwrap_or(path);
        match lookup(self.root, section).map(|value| &value.content) {
            Some(Content::Map(map)) => map.iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the scalars of a list, numbers and switches as they are spelled. A single scalar is a list of one.
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
                        format!("must be a single value, but is {}", item.kind()),
                    );
                    None
                }
            })
            .collect()
    }

    /// Reads a list, each item by `parse`; `None` if the list is not configured.
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
    /// Returns the sections of a list. A single section is a list of one.
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
                    let what = format!("must be a section, but is {}", value.kind());
                    self.problem(&value.origin, &place, what);
                    None
                }
            }
        };
        items.into_iter().enumerate().filter_map(section).collect()
    }

    /// Returns the value at a path without recording it as read.
    pub(super) fn section(&self, path: &str) -> Option<&'a Value> {
        lookup(self.root, path)
    }
}

/// Item of a list of sections. Its keys are not in the table.
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

    /// Reads a scalar by `parse`; `None` if it is missing or has a problem.
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
                Err(format!("must be a single value, but is {}", value.kind()))
            }
        };
        read.map_err(|why| self.reader.problem(&value.origin, &self.at(name), why))
            .ok()
    }

    /// Reads a scalar that must be present; adds a problem if it is missing or empty.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        if self.map.get(name).is_none_or(Value::is_empty) {
            self.problem(name, "a value is required");
        }
        self.optional(name, parse)
    }

    /// Returns the texts in the section `name`, each with its key.
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

    /// Returns a notice for each key that was not read.
    pub(super) fn unknown(&self) -> Vec<Notice> {
        let read = self.read.borrow();
        self.map
            .iter()
            .filter(|(name, _)| !read.contains(name))
            .map(|(name, value)| {
                let message = format!("{}: unknown key, ignored", self.at(name));
                Notice::new(value.origin.clone(), message)
            })
            .collect()
    }

    fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.place)
    }
}

impl Reader<'_> {
    /// Adds a problem if a section has more than one entry.
    pub(super) fn at_most_one_of(&self, section: &'static str) {
        if let Some(value) = lookup(self.root, section)
            && let Content::Map(map) = &value.content
        {
            let names: Vec<&str> = map.iter().map(|(name, _)| name).collect();
            if names.len() > 1 {
                self.problem(
                    &value.origin,
                    section,
                    format!("only one of these may be set: {}", names.join(", ")),
                );
            }
        }
    }

    /// Adds a problem about a section if the section is configured.
    pub(super) fn lacks(&self, section: &'static str, what: &str) {
        if let Some(value) = lookup(self.root, section)
            && (!value.is_empty() || section.starts_with("auth"))
        {
            self.problem(&value.origin, section, what);
        }
    }

    /// Adds a problem unless a section has exactly one entry that is not in `aside`.
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
                format!("exactly one of these must be set: {}", names.join(", ")),
            );
        }
    }
}

/// Returns the value at a path of plain names.
pub(super) fn lookup<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(root, |value, name| match &value.content {
            Content::Map(map) => map.get(name),
            _ => None,
        })
}

/// Returns true if the section that a key belongs to is configured, so that the default of the key applies.
pub(super) fn section_given(root: &Value, key: &Key) -> bool {
    if key.path == "http.tls.clientauth" {
        return lookup(root, "http.tls.clientcas").is_some_and(|authorities| !authorities.is_empty());
    }
    let sections = [
        "storage.filesystem",
        "storage.s3",
        "storage.gcs",
        "storage.azure",
        "auth.htpasswd",
        "http.debug",
        "http.tls",
        "http.tls.letsencrypt",
        "storage.maintenance.retention",
    ];
    sections
        .iter()
        .filter(|section| key.path.starts_with(&format!("{section}.")))
        .all(|section| lookup(root, section).is_some())
}
