//! Loads a configuration: reads the file, merges its sources, and checks every key against the table.

use super::{
    bucket::Identity,
    keys::{self, Known, Role},
    notice::Notice,
    overlay,
    problem::{ConfigError, Problem},
    reader,
    settings::{Settings, StorageKind},
    units,
    unknown::Unknown,
    value::{Content, Map, Origin, Value},
    yaml,
};
use registry_reload::{NotUtf8, utf8};
use std::path::{Path, PathBuf};

/// Sources of a configuration. A later one counts more: the defaults, the file, the environment, single settings.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    variables: Vec<(String, String)>,
    settings: Vec<(&'static str, &'static str, String)>,
}

impl Sources {
    /// Returns no sources: the defaults, which suit a developer's machine.
    ///
    /// The server then listens on loopback, keeps images in a directory below the working directory, and allows
    /// deletion.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file in the format of registry:2. Its defaults are those of registry:2.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Takes settings from environment variables such as `REGISTRY_HTTP_ADDR`, and the identity for a bucket from those of
    /// the vendors, such as `AWS_ROLE_ARN`. Ignores others. Nothing reads the environment of the process: pass it.
    #[must_use]
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.variables.extend(variables);
        self
    }

    /// Sets one key, such as `http.addr`. Messages name `origin` as the origin of the value, such as a flag.
    #[must_use]
    pub fn set(mut self, key: &'static str, origin: &'static str, value: impl Into<String>) -> Self {
        self.settings.push((key, origin, value.into()));
        self
    }
}

/// Configuration without problems.
///
/// ```
/// use registry_server::{Config, Sources};
///
/// let sources = Sources::new().set("http.addr", "my program", "127.0.0.1:5001");
/// let config = Config::load(sources)?;
/// assert!(config.effective().contains("addr: 127.0.0.1:5001"));
/// # Ok::<(), registry_server::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) settings: Settings,
    pub(super) notices: Vec<Notice>,
    pub(super) root: Value,
    pub(super) file: Option<PathBuf>,
}

impl Config {
    /// Reads and checks the configuration. Reports all problems, not only the first.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with the place of every problem.
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let (mut root, mut notices) = match &sources.file {
            Some(path) => read_file(path)?,
            None => (without_file(), Vec::new()),
        };
        overlay::expand_choices(&mut root);
        let identity = Identity::of(&sources.variables);
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
                "`version` is missing, and `version: 0.1` is assumed; registry:2 does not start without it";
            notices.push(Notice::new(origin, message.into()));
        }
        for (key, flag, text) in sources.settings {
            if text.is_empty() {
                problems.push(Problem::new(Origin::Flag(flag), key, "the value is empty"));
                continue;
            }
            let path: Vec<&str> = key.split('.').collect();
            if let Err(message) = overlay::set(&mut root, &path, Value::scalar(Origin::Flag(flag), text)) {
                problems.push(Problem::new(Origin::Flag(flag), key, message));
            }
        }
        survey(&root, &mut Vec::new(), &mut notices, &mut problems);
        let mut settings = Settings::read(&root, &mut notices, &mut problems);
        if let StorageKind::Bucket(bucket) = &mut settings.storage.kind {
            bucket.identity = identity;
        }
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

    /// Returns the notices about the configuration, for example keys without effect. They prevent no start.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
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
    let text = utf8(bytes).map_err(|error| {
        let line = match error {
            NotUtf8::Invalid { line } => line as u64,
            _ => 1,
        };
        Problem::new(at(line), "", error.to_string())
    })?;
    let (root, duplicates) = yaml::parse_file(&text, path)
        .map_err(|error| Problem::new(at(error.line.unwrap_or(1)), "", error.message))?;
    let notices = duplicates
        .into_iter()
        .map(|double| {
            Notice::new(
                at(double.line),
                format!("duplicate key `{}`; this one takes effect", double.key),
            )
        })
        .collect();
    match root.content {
        Content::Map(_) => Ok((root, notices)),
        _ => Err(Problem::new(
            at(1),
            "",
            "this is not a configuration; the minimum is `version: 0.1` and `storage: {filesystem: {rootdirectory: /var/lib/registry}}`",
        )
        .into()),
    }
}

/// Returns the configuration without a file: a registry for local use.
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

/// Checks every key of the tree against the table.
///
/// Refused keys become problems, as do unknown keys that may have been meant to protect something. Other unknown keys
/// and accepted keys become notices.
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
                        "{dotted}: `{text}` means nanoseconds, because it has no unit; use `s`, `m` or `h`"
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
                        format!("not supported: {}", key.about),
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
                format!("must be a section, but is {}", value.kind()),
            )),
        },
    }
}

/// Returns true if a value is disabled: by its own `disabled: true`, or because everything below it is disabled.
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
