//! Overlays the environment on the file, by registry:2's rules for `REGISTRY_*`.
//!
//! `REGISTRY_HTTP_ADDR` sets `http.addr`: the name is split at `_`, its parts are the keys in upper case, and the
//! value is YAML. Variables apply in the order of their names, so a section comes before its keys:
//! `REGISTRY_STORAGE=filesystem` replaces the whole section, and `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY` then adds
//! to it.
//!
//! Some variables have an effect here although registry:2 drops them (see `docs/configuration.md`):
//!
//! - elements of lists (`…_HOSTS_0`),
//! - sections of `storage` and `auth` that are also in the file,
//! - names of headers and log fields that contain `_`.
//!
//! A header that a variable sets replaces the one in the file.

use super::{
    keys::{self, Form, Known},
    notice::Notice,
    problem::Problem,
    unknown::Unknown,
    value::{Content, Map, Origin, Value},
    yaml,
};
use std::sync::Arc;

/// Prefix of the variables that set keys.
const PREFIX: &str = "REGISTRY_";

/// Variables with this prefix that do not set keys.
const OTHERS: [&str; 1] = ["REGISTRY_CONFIGURATION_PATH"];

/// Names that registry:2 derives from fields of its source instead of the keys of the file, and the names by key.
const SPELLINGS: [(&str, &str); 5] = [
    ("HEALTH_FILECHECKERS", "HEALTH_FILE"),
    ("HEALTH_HTTPCHECKERS", "HEALTH_HTTP"),
    ("HEALTH_TCPCHECKERS", "HEALTH_TCP"),
    ("NOTIFICATIONS_EVENTCONFIG", "NOTIFICATIONS_EVENTS"),
    (
        "COMPATIBILITY_SCHEMA1_TRUSTKEY",
        "COMPATIBILITY_SCHEMA1_SIGNINGKEYFILE",
    ),
];

/// Outcome of an overlay, apart from the changed tree.
#[derive(Debug, Default)]
pub(crate) struct Overlaid {
    /// Variables that set a key.
    pub(crate) used: Vec<Arc<str>>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) problems: Vec<Problem>,
}

/// Overlays `variables` on the tree. Ignores variables without the prefix.
pub(crate) fn overlay(root: &mut Value, variables: impl IntoIterator<Item = (String, String)>) -> Overlaid {
    let mut variables: Vec<(String, String)> = variables
        .into_iter()
        .filter(|(name, _)| name.starts_with(PREFIX) && !OTHERS.contains(&name.as_str()))
        .collect();
    variables.sort();
    let mut overlaid = Overlaid::default();
    for (name, text) in variables {
        let name: Arc<str> = name.into();
        let origin = Origin::Variable(Arc::clone(&name));
        let target = match Target::find(&name, root) {
            Ok(target) => target,
            Err(unknown) => {
                let told = unknown.told(|meant| format!("{PREFIX}{}", meant.join("_").to_uppercase()));
                if unknown.protects {
                    overlaid.problems.push(Problem::new(origin, "", told));
                } else {
                    overlaid.notices.push(Notice::new(origin, told));
                }
                continue;
            }
        };
        match yaml::parse_variable(&text, &name) {
            Err(error) => overlaid.problems.push(Problem::new(
                origin,
                target.path.join("."),
                format!("{}; try quotes around the whole value", error.message),
            )),
            Ok(value) => match target.set(root, value) {
                Ok(()) => overlaid.used.push(name),
                Err(message) => overlaid
                    .problems
                    .push(Problem::new(origin, target.path.join("."), message)),
            },
        }
    }
    overlaid
}

/// Expands the short form `storage: filesystem` to `storage: {filesystem: }`, and that of `auth` likewise.
pub(crate) fn expand_choices(root: &mut Value) {
    let Content::Map(root) = &mut root.content else {
        return;
    };
    for section in ["storage", "auth"] {
        if root.contains(section) {
            expand(root.entry(section, null));
        }
    }
}

fn expand(section: &mut Value) {
    if let Content::Scalar(name) = &section.content {
        let mut map = Map::default();
        map.set(
            name,
            Value {
                origin: section.origin.clone(),
                content: Content::Null,
            },
        );
        section.content = Content::Map(map);
    }
}

/// Target of a variable: a path of keys from the root, and optionally an index in a list.
struct Target {
    path: Vec<String>,
    element: Option<usize>,
}

impl Target {
    fn find(variable: &str, root: &Value) -> Result<Self, Unknown> {
        let mut name = variable.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        for (theirs, key) in SPELLINGS {
            if let Some(rest) = name.strip_prefix(theirs)
                && (rest.is_empty() || rest.starts_with('_'))
            {
                name = format!("{key}{rest}");
            }
        }
        let mut parts = name.split('_').collect::<Vec<_>>();
        let mut path: Vec<String> = Vec::new();
        while !parts.is_empty() {
            let known: Vec<&str> = path.iter().map(String::as_str).collect();
            match keys::find(&known) {
                Known::Section => {
                    let names = keys::below(&known);
                    if names.contains(&"*") {
                        // The rest is one name of the user's choice, spelled as it already stands, if it does.
                        let rest = parts.join("_");
                        path.push(spelled_in(root, &path, &rest).unwrap_or_else(|| rest.to_lowercase()));
                        parts.clear();
                    } else {
                        let is_next =
                            |name: &&str| parts.first().is_some_and(|part| name.to_uppercase() == *part);
                        let Some(name) = names.into_iter().find(is_next) else {
                            return Err(Unknown::in_variable(&known, &parts));
                        };
                        path.push(name.to_owned());
                        parts.remove(0);
                    }
                }
                Known::Key(key) if key.form == Form::Any => {
                    let part = parts.remove(0);
                    path.push(spelled_in(root, &path, part).unwrap_or_else(|| part.to_lowercase()));
                }
                Known::Key(key) if key.form == Form::List => {
                    let element = match parts.as_slice() {
                        [element] => element.parse().ok(),
                        _ => None,
                    };
                    let unknown = || Unknown::in_variable(&known, &parts);
                    return Ok(Self {
                        element: Some(element.ok_or_else(unknown)?),
                        path,
                    });
                }
                Known::Key(_) | Known::Unknown => return Err(Unknown::in_variable(&known, &parts)),
            }
        }
        Ok(Self { path, element: None })
    }

    fn set(&self, root: &mut Value, value: Value) -> Result<(), String> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        match self.element {
            None => set(root, &path, value),
            Some(element) => set_element(place(root, &path, &value.origin)?, element, value),
        }
    }
}

/// Sets the value at `path`, creating the sections above it.
pub(crate) fn set(root: &mut Value, path: &[&str], value: Value) -> Result<(), String> {
    let place = place(root, path, &value.origin)?;
    *place = value;
    if matches!(path, ["storage" | "auth"]) {
        expand(place);
    }
    Ok(())
}

/// Returns the value at `path`, inserting null if there is none.
fn place<'a>(root: &'a mut Value, path: &[&str], origin: &Origin) -> Result<&'a mut Value, String> {
    let mut place = root;
    for (depth, name) in path.iter().enumerate() {
        let section = path.get(..depth).unwrap_or_default().join(".");
        let nothing = || Value {
            origin: origin.clone(),
            content: Content::Null,
        };
        place = match (&place.content, name.parse()) {
            (Content::List(_), Ok(element)) => item(place, element, nothing)?,
            _ => open(place, origin, &section)?.entry(name, nothing),
        };
    }
    Ok(place)
}

/// Returns the section at a place. A null value becomes an empty section.
fn open<'a>(place: &'a mut Value, origin: &Origin, path: &str) -> Result<&'a mut Map, String> {
    if place.content == Content::Null {
        *place = Value {
            origin: origin.clone(),
            content: Content::Map(Map::default()),
        };
    }
    let (kind, at) = (place.kind(), place.origin.clone());
    match &mut place.content {
        Content::Map(map) => Ok(map),
        _ => Err(format!("`{path}` is {kind} at {at}, not a section")),
    }
}

fn set_element(place: &mut Value, element: usize, value: Value) -> Result<(), String> {
    if place.content == Content::Null {
        *place = Value {
            origin: value.origin.clone(),
            content: Content::List(Vec::new()),
        };
    }
    *item(place, element, null)? = value;
    Ok(())
}

/// Returns an item of a list. An index just past the end appends the item that `absent` makes.
fn item(place: &mut Value, element: usize, absent: impl FnOnce() -> Value) -> Result<&mut Value, String> {
    let (kind, at) = (place.kind(), place.origin.clone());
    let Content::List(list) = &mut place.content else {
        return Err(format!("this is {kind} at {at}, not a list"));
    };
    let length = list.len();
    if element == length {
        list.push(absent());
    }
    list.get_mut(element)
        .ok_or_else(|| format!("the list has {length} elements, so element {element} cannot be set"))
}

/// Returns the spelling in the tree of the key that equals `name` except for case.
fn spelled_in(root: &Value, path: &[String], name: &str) -> Option<String> {
    let mut place = root;
    for key in path {
        let Content::Map(map) = &place.content else {
            return None;
        };
        place = map.get(key)?;
    }
    let Content::Map(map) = &place.content else {
        return None;
    };
    map.iter()
        .find_map(|(key, _)| key.eq_ignore_ascii_case(name).then(|| key.to_owned()))
}

const fn null() -> Value {
    Value {
        origin: Origin::Default,
        content: Content::Null,
    }
}
