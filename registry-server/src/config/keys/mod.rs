//! Table of all keys of the configuration: form, role, default and description.
//!
//! The table drives the environment's rules, the search for unknown keys, the defaults, `registry config check`, and
//! `docs/configuration.md`. A test asserts that exactly the honoured keys of the table are read.

mod access;
mod buckets;
mod http;
mod key;
mod log;
mod service;
mod storage;

pub(crate) use self::key::{Form, Key, Role};

/// Table of all keys. Keys of one section stand together.
const TABLES: [&[Key]; 7] = [
    log::KEYS,
    storage::PLACES,
    buckets::KEYS,
    storage::KEYS,
    access::KEYS,
    http::KEYS,
    service::KEYS,
];

/// Entry of the table for a path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known {
    /// Key, or a path below a key that takes any value.
    Key(&'static Key),
    /// Section with keys below it.
    Section,
    Unknown,
}

/// Looks a path up.
pub(crate) fn find(path: &[&str]) -> Known {
    if let Some(key) = keys().find(|key| covers(key, path)) {
        return Known::Key(key);
    }
    let is_section = keys().any(|key| {
        let mut segments = key.segments();
        path.iter().all(|name| segments.next() == Some(name)) && segments.next().is_some()
    });
    if is_section {
        Known::Section
    } else {
        Known::Unknown
    }
}

/// Finds a key by its exact path.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    keys().find(|key| key.path == path)
}

/// Finds a key of a bucket, such as `region` of `s3`, that a URL can have: one that takes effect, and no secret.
pub(crate) fn key_below(driver: &str, name: &str) -> Option<&'static str> {
    let found = key(&format!("storage.{driver}.{name}"))?;
    (found.role == Role::Honoured && found.form != Form::Secret).then_some(found.path)
}

/// Returns the names directly below a section.
pub(crate) fn below(section: &[&str]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = keys()
        .filter_map(|key| {
            let mut segments = key.segments();
            section
                .iter()
                .all(|name| segments.next() == Some(name))
                .then(|| segments.next())?
        })
        .collect();
    names.dedup();
    names
}

fn covers(key: &Key, path: &[&str]) -> bool {
    let mut names = path.iter();
    for segment in key.segments() {
        match names.next() {
            Some(name) if segment == *name || segment == "*" => {}
            _ => return false,
        }
    }
    names.next().is_none() || matches!(key.form, Form::Any)
}

/// Yields all keys. Those of one section stand together.
pub(crate) fn keys() -> impl Iterator<Item = &'static Key> {
    TABLES.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_key_stands_twice_or_inside_another() {
        let mut seen = BTreeSet::new();
        for key in keys() {
            assert!(seen.insert(key.path), "{} stands twice", key.path);
            let inside = keys().find(|other| other.path.starts_with(&format!("{}.", key.path)));
            assert!(
                inside.is_none(),
                "{} is inside of {}",
                inside.unwrap().path,
                key.path
            );
        }
    }

    #[test]
    fn keys_of_a_section_stand_together() {
        let mut closed = BTreeSet::new();
        let mut open = "";
        for key in keys() {
            let section = key.segments().next().unwrap();
            if section != open {
                assert!(closed.insert(section), "{section} begins twice, at {}", key.path);
                open = section;
            }
        }
    }

    #[test]
    fn a_path_is_found_with_what_lies_below_it() {
        assert!(matches!(find(&["http", "addr"]), Known::Key(key) if key.path == "http.addr"));
        assert!(
            matches!(find(&["storage", "s3", "bucket"]), Known::Key(key) if key.path == "storage.s3.bucket")
        );
        assert!(matches!(find(&["http"]), Known::Section));
        assert!(matches!(find(&["http", "adr"]), Known::Unknown));
        assert!(matches!(find(&["http", "addr", "more"]), Known::Unknown));
    }
}
