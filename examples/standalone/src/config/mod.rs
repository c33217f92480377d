//! The configuration: registry:2's file, its environment, and the command line, become [`Settings`].
//!
//! A tree of values, each with its origin, is laid together from the file, then the environment, then the flags
//! ([`overlay`]). [`keys`] is the table of what there is. [`reader`] reads typed values from the tree, and [`settings`]
//! says which; whatever the table does not know is told, and refused if it would have protected something ([`unknown`]).
//! [`check`] prints the outcome.

mod check;
mod checks;
#[cfg(test)]
mod docs;
mod keys;
mod not_yaml;
mod overlay;
mod protection;
mod reader;
mod remedies;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod units;
mod unknown;
mod value;
mod yaml;

pub(crate) use self::{
    check::render,
    remedies::remedies,
    settings::{Format, Headers, Htpasswd, Location, Log, Settings, StorageKind},
    units::size,
};

use self::{
    keys::{Known, Role},
    unknown::Unknown,
    value::{Content, Map, Origin, Value},
};
use crate::denied;
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Something to know about a configuration that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    origin: Origin,
    message: String,
    is_warning: bool,
}

impl Notice {
    fn new(origin: Origin, message: String) -> Self {
        Self {
            origin,
            message,
            is_warning: true,
        }
    }

    /// One about a key that registry:2 needs, and nobody misses here.
    fn needless(origin: Origin, message: String) -> Self {
        Self {
            is_warning: false,
            ..Self::new(origin, message)
        }
    }

    /// Puts it into the log.
    pub(crate) fn log(&self) {
        if self.is_warning {
            tracing::warn!("{self}");
        } else {
            tracing::info!("{self}");
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}

/// Something that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    origin: Origin,
    key: String,
    message: String,
}

impl Problem {
    fn new(origin: Origin, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            origin,
            key: key.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("configuration error: cannot read {}{}", path.display(), denied::hint(path))]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("configuration error: {}", Lines(problems))]
    Problems { problems: Vec<Problem> },
}

impl From<Problem> for ConfigError {
    fn from(problem: Problem) -> Self {
        Self::Problems {
            problems: vec![problem],
        }
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\nconfiguration error: ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Where a configuration comes from.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// A file; without one, what a developer's machine wants: loopback, a directory below this one, deletion on.
    pub(crate) file: Option<PathBuf>,
    /// The environment, as it is.
    pub(crate) variables: Vec<(String, String)>,
    /// Flags of the command line: the key, the flag, and the value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
}

/// The environment, as far as it is text: no key and no value of a configuration is anything else.
pub(crate) fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A configuration that can be used.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) settings: Settings,
    /// What it does not do although somebody might think so.
    pub(crate) notices: Vec<Notice>,
    root: Value,
    file: Option<PathBuf>,
}

impl Config {
    /// Reads and checks everything; all problems are found, not only the first.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the place of every problem.
    pub(crate) fn load(sources: Sources) -> Result<Self, ConfigError> {
        let (mut root, mut notices) = match &sources.file {
            Some(path) => read_file(path)?,
            None => (without_file(), Vec::new()),
        };
        overlay::expand_choices(&mut root);
        let overlaid = overlay::overlay(&mut root, sources.variables);
        notices.extend(overlaid.notices);
        let mut problems = overlaid.problems;
        if let Some(path) = &sources.file
            && reader::lookup(&root, "version").is_none_or(Value::is_empty)
        {
            let origin = Origin::File {
                path: path.as_path().into(),
                line: 1,
            };
            let message =
                "there is no `version`, and `version: 0.1` is assumed; registry:2 does not start without";
            notices.push(Notice::new(origin, message.into()));
        }
        for (key, flag, text) in sources.flags {
            if text.is_empty() {
                problems.push(Problem::new(Origin::Flag(flag), key, "it is empty"));
                continue;
            }
            let path: Vec<&str> = key.split('.').collect();
            if let Err(message) = overlay::set(&mut root, &path, Value::scalar(Origin::Flag(flag), text)) {
                problems.push(Problem::new(Origin::Flag(flag), key, message));
            }
        }
        survey(&root, &mut Vec::new(), &mut notices, &mut problems);
        let settings = Settings::read(&root, &mut notices, &mut problems);
        if problems.is_empty() {
            Ok(Self {
                settings,
                notices,
                root,
                file: sources.file,
            })
        } else {
            Err(ConfigError::Problems { problems })
        }
    }
}

fn read_file(path: &Path) -> Result<(Value, Vec<Notice>), ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let at = |line| Origin::File {
        path: path.into(),
        line,
    };
    if is_utf16(&bytes) {
        return Err(Problem::new(at(1), "", UTF_16).into());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = before.filter(|byte| **byte == b'\n').count() + 1;
        Problem::new(at(line as u64), "", "this file is not UTF-8: save it as UTF-8")
    })?;
    let (root, duplicates) = yaml::parse_file(&text, path)
        .map_err(|error| Problem::new(at(error.line.unwrap_or(1)), "", error.message))?;
    let notices = duplicates
        .into_iter()
        .map(|double| {
            Notice::new(
                at(double.line),
                format!("`{}` stands here twice; this one counts", double.key),
            )
        })
        .collect();
    match root.content {
        Content::Map(_) => Ok((root, notices)),
        _ => Err(Problem::new(
            at(1),
            "",
            "this is no configuration; the least there is: `version: 0.1` and `storage: {filesystem: {rootdirectory: /var/lib/registry}}`",
        )
        .into()),
    }
}

/// What is wrong with a file that PowerShell's `>` has written, or an editor of Windows.
pub(crate) const UTF_16: &str = "this file is UTF-16: save it as UTF-8";

/// Whether a text file is UTF-16, with a mark or without: half of its first bytes are zero, each second one.
pub(crate) fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let pairs = bytes
        .get(..bytes.len().min(64))
        .unwrap_or_default()
        .chunks_exact(2);
    let half = pairs.len().div_ceil(2);
    let zeros = |place: usize| pairs.clone().filter(|pair| pair.get(place) == Some(&0)).count();
    let (first, second) = (zeros(0), zeros(1));
    half > 0 && ((first >= half && second == 0) || (second >= half && first == 0))
}

/// What holds without a file: a registry for the machine it runs on.
fn without_file() -> Value {
    let mut root = Value {
        origin: Origin::Default,
        content: Content::Map(Map::default()),
    };
    for (path, text) in [
        (&["version"][..], "0.1"),
        (&["storage", "filesystem", "rootdirectory"], "./registry-data"),
        (&["storage", "delete", "enabled"], "true"),
        (&["log", "accesslog", "disabled"], "true"),
        (&["http", "addr"], "127.0.0.1:5000"),
    ] {
        let set = overlay::set(&mut root, path, Value::scalar(Origin::Default, text));
        debug_assert!(set.is_ok(), "sections open in an empty tree");
    }
    root
}

/// Goes through the whole tree: unknown keys are told, refused ones are problems, and so are those that may have been
/// meant to protect something; accepted ones are told.
fn survey<'a>(
    value: &'a Value,
    path: &mut Vec<&'a str>,
    notices: &mut Vec<Notice>,
    problems: &mut Vec<Problem>,
) {
    let dotted = path.join(".");
    match keys::find(path) {
        Known::Key(key) => match key.role {
            Role::Honoured => {
                if let (keys::Form::Duration, Content::Scalar(text)) = (key.form, &value.content)
                    && units::lacks_unit(text)
                {
                    let message = format!(
                        "{dotted}: `{text}` is that many nanoseconds, as it is without a unit; others are `s`, `m` and `h`"
                    );
                    notices.push(Notice::new(value.origin.clone(), message));
                }
            }
            Role::Accepted => {
                if !value.is_empty() {
                    notices.push(Notice::needless(
                        value.origin.clone(),
                        format!("{dotted}: accepted without effect: {}", key.about),
                    ));
                }
            }
            Role::Refused if key.has_disabled_items() && !value.is_empty() && is_disabled(value) => {
                notices.push(Notice::needless(
                    value.origin.clone(),
                    format!("{dotted}: accepted without effect: it is disabled"),
                ));
            }
            Role::Refused => {
                if !value.is_empty()
                    || key.segments().next() == Some("storage")
                    || key.segments().next() == Some("auth")
                {
                    problems.push(Problem::new(
                        value.origin.clone(),
                        dotted,
                        format!("this is not done here: {}", key.about),
                    ));
                }
            }
        },
        Known::Unknown => {
            let unknown = Unknown::in_file(path, value);
            let told = unknown.told(|meant| meant.join("."));
            if unknown.protects {
                problems.push(Problem::new(value.origin.clone(), dotted, told));
            } else {
                notices.push(Notice::new(value.origin.clone(), format!("{dotted}: {told}")));
            }
        }
        Known::Section => match &value.content {
            Content::Map(map) => {
                for (name, below) in map.iter() {
                    path.push(name);
                    survey(below, path, notices, problems);
                    path.pop();
                }
            }
            Content::Null => {}
            Content::Scalar(_) | Content::List(_) => problems.push(Problem::new(
                value.origin.clone(),
                dotted,
                format!("it is {}, and has to be a section", value.kind()),
            )),
        },
    }
}

/// Whether everything that stands there is disabled: each section by its own `disabled: true`, or each below it.
fn is_disabled(value: &Value) -> bool {
    match &value.content {
        Content::Null => true,
        Content::Scalar(_) => false,
        Content::List(items) => items.iter().all(is_disabled),
        Content::Map(map) => match map.get("disabled").map(|switch| &switch.content) {
            Some(Content::Scalar(text)) => units::switch(text) == Ok(true),
            Some(_) => false,
            None => map.iter().all(|(_, below)| is_disabled(below)),
        },
    }
}
