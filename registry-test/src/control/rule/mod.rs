//! Faults in JSON, as programs in other languages describe them.
//!
//! ```json
//! {"on": "PUT manifest", "repository": "team/app", "first": 2, "status": 429, "retry_after": 1}
//! {"on": "GET blob", "each_first": true, "cut": "response", "after": 1000, "reset": true}
//! {"on": "*", "stall": "response", "gate": "later", "optional": true}
//! ```

mod fault;

use self::fault::read_fault;
use super::{
    fields::{BadField, Fields},
    route::is_gate,
};
use crate::{
    Kind,
    fault::{Fault, Gate, On, on, on_any},
};
use http::Method;
use registry_core::{Digest, RepositoryName, Tag};
use serde_json::{Map, Value};

/// Fields that select requests.
const CONDITIONS: [&str; 9] = [
    "on",
    "repository",
    "digest",
    "tag",
    "nth",
    "first",
    "each_first",
    "always",
    "optional",
];

/// Methods of the protocol.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::PUT,
    Method::POST,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Each fault, with the fields that only it has.
const FAULTS: [(&str, &[&str]); 13] = [
    (
        "status",
        &["retry_after", "retry_at", "code", "headers", "after_body"],
    ),
    ("cut", &["after", "reset"]),
    ("stall", &["after", "gate"]),
    ("slow", &[]),
    ("lost_answer", &[]),
    ("refuse", &[]),
    ("wrong_bytes", &[]),
    ("wrong_length", &[]),
    ("drop_header", &[]),
    ("set_header", &[]),
    ("location", &[]),
    ("redirect", &[]),
    ("token", &[]),
];

/// A rule to add.
#[derive(Debug)]
pub(super) struct NewRule {
    pub(super) on: On,
    pub(super) fault: Fault,
    /// The gate at which a stalled request waits, by its name.
    pub(super) gate: Option<String>,
}

impl NewRule {
    /// Reads a rule. The gate of a stall is `gates(name)`.
    pub(super) fn read(
        object: Map<String, Value>,
        gates: impl FnOnce(&str) -> Gate,
    ) -> Result<Self, BadField> {
        let mut fields = Fields::new(object);
        let options = FAULTS
            .iter()
            .flat_map(|(fault, options)| [fault].into_iter().chain(*options));
        fields.only(&CONDITIONS.iter().chain(options).copied().collect::<Vec<_>>())?;
        let mut found = FAULTS.iter().filter(|(fault, _)| fields.has(fault));
        let (fault, options) = match (found.next(), found.next()) {
            (Some(one), None) => *one,
            (None, _) => return Err(BadField::new(format!("there is no fault: one of {}", names()))),
            (Some((one, _)), Some((other, _))) => {
                return Err(BadField::new(format!(
                    "`{one}` and `{other}` are two faults: add two rules"
                )));
            }
        };
        let known: Vec<_> = (CONDITIONS.iter().chain([&fault]).chain(options))
            .copied()
            .collect();
        fields.only(&known)?;
        let gate = fields.text("gate")?;
        if gate.as_deref().is_some_and(|name| !is_gate(name)) {
            return Err(BadField::in_field(
                "gate",
                "must have letters, digits, `-`, `_` and `.` only, so that a path can name it",
            ));
        }
        Ok(Self {
            on: conditions(&mut fields)?,
            fault: read_fault(fault, &mut fields, gate.as_deref().map(gates))?,
            gate,
        })
    }
}

fn names() -> String {
    FAULTS.map(|(name, _)| name).join(", ")
}

fn conditions(fields: &mut Fields) -> Result<On, BadField> {
    let mut on = match fields.text("on")? {
        Some(text) => requests(&text)?,
        None => on_any(),
    };
    if let Some(name) = fields.parsed("repository", RepositoryName::parse)? {
        on = on.in_repository(name);
    }
    if let Some(digest) = fields.parsed("digest", Digest::parse)? {
        on = on.digest(&digest);
    }
    if let Some(tag) = fields.parsed("tag", Tag::parse)? {
        on = on.tagged(tag);
    }
    let mut counts = 0;
    if let Some(number) = fields.count("nth")? {
        (on, counts) = (on.nth(number), counts + 1);
    }
    if let Some(number) = fields.count("first")? {
        (on, counts) = (on.first(number), counts + 1);
    }
    if fields.flag("each_first")? {
        (on, counts) = (on.each_first(), counts + 1);
    }
    if fields.flag("always")? {
        (on, counts) = (on.always(), counts + 1);
    }
    if counts > 1 {
        return Err(BadField::new(
            "there can be one of `nth`, `first`, `each_first` and `always`",
        ));
    }
    if fields.flag("optional")? {
        on = on.optional();
    }
    Ok(on)
}

/// Reads a method, a kind, both, or `*`.
fn requests(text: &str) -> Result<On, BadField> {
    let mut words = text
        .split_ascii_whitespace()
        .filter(|word| *word != "*")
        .peekable();
    let method = words
        .peek()
        .and_then(|word| METHODS.iter().find(|method| method.as_str() == *word));
    let mut selected = method.map_or_else(on_any, |method| on(method.clone()));
    if method.is_some() {
        words.next();
    }
    if let Some(word) = words.next() {
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or_else(|| {
                let kinds = Kind::ALL.map(Kind::as_str).join(", ");
                BadField::in_field("on", &format!("{word:?} is neither a method nor one of {kinds}"))
            })?;
        selected = selected.kind(kind);
    }
    match words.next() {
        None => Ok(selected),
        Some(word) => Err(BadField::in_field(
            "on",
            &format!("{word:?} is too much: a method and a kind, or \"*\""),
        )),
    }
}

#[cfg(test)]
mod tests;
