//! Histories of tags, in the form of a directory and in that of a bucket.
//!
//! In a directory, a history is a file with a line of JSON for each event. In a bucket, each event is an object: its name has
//! the time, the kind and the manifest, its content the user.

use registry_core::{Algorithm, Digest};
use serde_json::{Map, Value};

const SECOND: u64 = 1_000_000_000;

/// An event as an object: name and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) name: String,
    pub(super) content: String,
}

/// Returns the objects for the lines of a file, in their order. Damaged lines are left out.
pub(super) fn objects(file: &[u8], repository: &str, tag: &str) -> Vec<Object> {
    let mut last = 0;
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| {
            let mut fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
            let at: jiff::Timestamp = fields.remove("at")?.as_str()?.parse().ok()?;
            let at = u64::try_from(at.as_second()).ok()?.checked_mul(SECOND)?;
            // Lines of the same second keep their order.
            last = at.max(last + 1);
            let is_set = |field: &str| fields.get(field).is_some_and(|value| *value == true);
            let named = |field: &str| Digest::parse(fields.get(field)?.as_str()?).ok();
            let (letter, digest) = match (named("target"), named("was")) {
                (Some(target), _) if is_set("again") => ("a", Some(target)),
                (Some(target), _) if is_set("restored") => ("r", Some(target)),
                (Some(target), _) => ("m", Some(target)),
                (None, was) => ("d", was),
            };
            let by = fields.get("by").is_some_and(Value::is_string);
            let name = name(last, line, letter, digest.as_ref(), by);
            fields.remove("again");
            fields.remove("restored");
            fields.insert("repository".to_owned(), repository.into());
            fields.insert("tag".to_owned(), tag.into());
            Some(Object {
                name,
                content: Value::Object(fields).to_string(),
            })
        })
        .collect()
}

/// Returns the name of an event. The same line has the same name, so that a copy that is repeated adds none.
fn name(number: u64, line: &[u8], letter: &str, digest: Option<&Digest>, by: bool) -> String {
    let nonce: String = Digest::of(Algorithm::Sha256, line)
        .hex()
        .chars()
        .take(16)
        .collect();
    let digest = digest.map_or_else(String::new, |digest| {
        format!("-{}-{}", digest.algorithm().as_str(), digest.hex())
    });
    let by = if by { "-by" } else { "" };
    format!("{number:020}-{nonce}-{letter}{digest}{by}")
}

/// Returns the line for an object. An object of another kind has none.
pub(super) fn line(object: &Object) -> Option<String> {
    let mut parts = object.name.trim_end_matches("-by").split('-');
    let number: u64 = parts.next()?.parse().ok()?;
    let (_nonce, letter) = (parts.next()?, parts.next()?);
    let digest = match (parts.next(), parts.next()) {
        (Some(algorithm), Some(hex)) => Some(Digest::parse(&format!("{algorithm}:{hex}")).ok()?),
        _ => None,
    };
    let at = jiff::Timestamp::from_second(i64::try_from(number / SECOND).ok()?).ok()?;
    let mut fields = Map::new();
    let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    set("at", at.to_string().into());
    match (letter, digest) {
        ("m" | "n" | "r" | "a", Some(target)) => set("target", target.to_string().into()),
        ("d", Some(was)) => set("was", was.to_string().into()),
        ("d", None) => None,
        // That a deletion was undone once more is no event.
        _ => return None,
    };
    match letter {
        "a" => set("again", true.into()),
        "r" => set("restored", true.into()),
        _ => None,
    };
    if object.name.ends_with("-by") {
        let content: Value = serde_json::from_str(&object.content).ok()?;
        set("by", content.get("by")?.as_str()?.into());
    }
    Some(Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_comes_back_as_it_was() {
        let digest = Digest::of(Algorithm::Sha256, b"a");
        let at = "2026-11-21T01:26:40Z";
        let lines = [
            format!(r#"{{"at":"{at}","by":"ann","target":"{digest}"}}"#),
            format!(r#"{{"again":true,"at":"{at}","target":"{digest}"}}"#),
            format!(r#"{{"at":"{at}","by":"bob","was":"{digest}"}}"#),
            format!(r#"{{"at":"2026-11-21T01:26:41Z","restored":true,"target":"{digest}"}}"#),
            r#"{"at":"2026-11-21T01:26:40Z"}"#.to_owned(),
        ];
        let objects = objects(lines.join("\n").as_bytes(), "team/app", "v1");

        assert!(objects.is_sorted_by_key(|object| object.name.clone()));
        let mut back: Vec<String> = objects.iter().filter_map(line).collect();
        // The clock had been set back. The order stays, and so the time cannot.
        assert_eq!(back.pop().unwrap(), r#"{"at":"2026-11-21T01:26:41Z"}"#);
        assert_eq!(back, lines[..4]);
    }

    #[test]
    fn a_bucket_tells_a_new_tag_from_a_move_and_a_directory_does_not() {
        let digest = Digest::of(Algorithm::Sha256, b"a");
        let lines = ["m", "n"].map(|letter| {
            let name = name(SECOND, b"", letter, Some(&digest), false);
            let content = String::new();
            line(&Object { name, content }).unwrap()
        });
        let expected = format!(r#"{{"at":"1970-01-01T00:00:01Z","target":"{digest}"}}"#);
        assert_eq!(lines, [expected.clone(), expected]);
    }

    #[test]
    fn what_is_damaged_is_left_out() {
        assert_eq!(objects(b"\n{\"at\":\"20", "a", "b"), []);
        let other = |name: &str| Object {
            name: name.to_owned(),
            content: String::new(),
        };
        assert_eq!(line(&other("link")), None);
        assert_eq!(line(&other("1-2-s-sha256-0")), None);
    }
}
