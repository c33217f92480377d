//! Faults in JSON, as programs in other languages describe them.
//!
//! ```json
//! {"on": "PUT manifest", "repository": "team/app", "first": 2, "status": 429, "retry_after": 1}
//! {"on": "GET blob", "each_first": true, "cut": "response", "after": 1000, "reset": true}
//! {"on": "*", "stall": "response", "gate": "later", "optional": true}
//! ```

use super::fields::{BadField, Fields};
use crate::{
    Kind,
    fault::{
        Fault, Gate, Location, On, Redirect, Side, Token, cut, drop_header, location, lost_answer, on,
        on_any, redirect, refuse, set_header, slow, stall, status, token, wrong_bytes, wrong_length,
    },
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
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

/// Statuses that end a request. Lower ones announce another answer.
const FIRST_FINAL: u16 = 200;

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

fn read_fault(fault: &str, fields: &mut Fields, gate: Option<Gate>) -> Result<Fault, BadField> {
    Ok(match fault {
        "status" => read_status(fields)?,
        "cut" => {
            let cut = cut(side(fault, fields)?).after(fields.number("after")?.unwrap_or(0));
            if fields.flag("reset")? {
                cut.reset().into()
            } else {
                cut.into()
            }
        }
        "stall" => {
            let stall = stall(side(fault, fields)?).after(fields.number("after")?.unwrap_or(0));
            match gate {
                Some(gate) => stall.until(&gate).into(),
                None => stall.into(),
            }
        }
        "slow" => match fields.number("slow")? {
            Some(bytes) if bytes > 0 => slow(bytes).into(),
            _ => {
                return Err(BadField::in_field(
                    "slow",
                    "must be a number of bytes per second, at least 1",
                ));
            }
        },
        "lost_answer" => set(fault, fields, lost_answer())?,
        "refuse" => set(fault, fields, refuse())?,
        "wrong_bytes" => set(fault, fields, wrong_bytes())?,
        "wrong_length" => match fields.integer("wrong_length")? {
            Some(by) if by != 0 => wrong_length(by),
            _ => return Err(BadField::in_field(fault, "must be a number other than 0")),
        },
        "drop_header" => {
            let name = fields.parsed(fault, |text| HeaderName::try_from(text))?;
            drop_header(
                name.ok_or_else(|| BadField::in_field(fault, "must be a name"))?
                    .as_str(),
            )
        }
        "set_header" => {
            let mut headers = headers(fault, fields)?.into_iter();
            match (headers.next(), headers.next()) {
                (Some((name, value)), None) => set_header(&name, &value),
                _ => return Err(BadField::in_field(fault, "must have one name and its value")),
            }
        }
        "location" => location(one_of(
            fault,
            fields,
            &[
                ("absolute", Location::Absolute),
                ("relative", Location::Relative),
                ("with_query", Location::WithQuery),
                ("other_host", Location::OtherHost),
            ],
        )?),
        "redirect" => redirect(read_redirect(fields)?),
        _ => token(read_token(fields)?),
    })
}

fn read_status(fields: &mut Fields) -> Result<Fault, BadField> {
    let code = fields.number("status")?.and_then(final_status);
    let code =
        code.ok_or_else(|| BadField::in_field("status", "must be the status of an answer, 200 to 999"))?;
    let mut answer = status(code);
    if let Some(seconds) = fields.number("retry_after")? {
        answer = answer.retry_after(seconds);
    }
    if let Some(date) = fields.parsed("retry_at", |text| {
        HeaderValue::try_from(text).map(|_| text.to_owned())
    })? {
        answer = answer.header("Retry-After", &date);
    }
    if let Some(code) = fields.text("code")? {
        answer = answer.code(code);
    }
    for (name, value) in headers("headers", fields)? {
        answer = answer.header(&name, &value);
    }
    if fields.flag("after_body")? {
        answer = answer.after_body();
    }
    Ok(answer.into())
}

fn final_status(number: u64) -> Option<u16> {
    let status = StatusCode::from_u16(u16::try_from(number).ok()?).ok()?.as_u16();
    (status >= FIRST_FINAL).then_some(status)
}

fn read_redirect(fields: &mut Fields) -> Result<Redirect, BadField> {
    let Some(mut object) = fields.object("redirect") else {
        return one_of(
            "redirect",
            fields,
            &[
                ("same_host", Redirect::SameHost),
                (
                    "other_host",
                    Redirect::OtherHost {
                        refuse_authorization: false,
                        expires: None,
                    },
                ),
                ("loop", Redirect::Loop),
            ],
        );
    };
    object.only(&["other_host"])?;
    let mut host = object
        .object("other_host")
        .ok_or_else(|| BadField::in_field("redirect", "must have `other_host` as an object"))?;
    host.only(&["refuse_authorization", "expires"])?;
    Ok(Redirect::OtherHost {
        refuse_authorization: host.flag("refuse_authorization")?,
        expires: host.count("expires")?,
    })
}

fn read_token(fields: &mut Fields) -> Result<Token, BadField> {
    let Some(mut object) = fields.object("token") else {
        return one_of(
            "token",
            fields,
            &[
                ("expire", Token::Expire),
                ("no_expires_in", Token::NoExpiresIn),
                ("access_token_only", Token::AccessTokenOnly),
                ("other_realm", Token::OtherRealm),
            ],
        );
    };
    object.only(&["fails"])?;
    let status = object.number("fails")?.and_then(final_status);
    status
        .map(Token::Fails)
        .ok_or_else(|| BadField::in_field("fails", "must be the status of an answer, 200 to 999"))
}

fn side(fault: &str, fields: &mut Fields) -> Result<Side, BadField> {
    one_of(
        fault,
        fields,
        &[("request", Side::Request), ("response", Side::Response)],
    )
}

/// Returns a fault whose value is `true`.
fn set(name: &str, fields: &mut Fields, fault: Fault) -> Result<Fault, BadField> {
    if fields.flag(name)? {
        Ok(fault)
    } else {
        Err(BadField::in_field(name, "must be true"))
    }
}

fn one_of<T: Clone>(name: &str, fields: &mut Fields, values: &[(&str, T)]) -> Result<T, BadField> {
    let text = fields.text(name)?.unwrap_or_default();
    let found = values.iter().find(|(value, _)| *value == text);
    found.map(|(_, value)| value.clone()).ok_or_else(|| {
        let known: Vec<_> = values.iter().map(|(value, _)| *value).collect();
        BadField::in_field(name, &format!("must be one of {}", known.join(", ")))
    })
}

/// Reads names and values of headers.
fn headers(name: &str, fields: &mut Fields) -> Result<Vec<(String, String)>, BadField> {
    let Some(object) = fields.object(name) else {
        return if fields.has(name) {
            Err(BadField::in_field(name, "must be an object"))
        } else {
            Ok(Vec::new())
        };
    };
    let mut headers = Vec::new();
    for (header, value) in object.into_map() {
        let Value::String(value) = value else {
            return Err(BadField::in_field(
                name,
                &format!("the value of {header:?} must be a text"),
            ));
        };
        HeaderName::try_from(&header).map_err(|error| BadField::in_field(name, &error))?;
        HeaderValue::try_from(&value).map_err(|error| BadField::in_field(name, &error))?;
        headers.push((header, value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::NewRule;
    use crate::fault::{Gate, Rule};
    use serde_json::{Value, json};

    fn read(rule: Value) -> Result<String, String> {
        let Value::Object(object) = rule else {
            panic!("a rule is an object")
        };
        let rule = NewRule::read(object, |_| Gate::new()).map_err(|error| error.to_string())?;
        Ok(Rule::from((rule.on, rule.fault)).to_string())
    }

    #[test]
    fn a_rule_in_json_is_a_call_in_rust() {
        for (rule, call) in [
            (
                json!({ "on": "PUT manifest", "repository": "team/app", "tag": "v1", "first": 2, "status": 429, "retry_after": 1 }),
                r#"fault(on(PUT).manifest().repository("team/app").tag("v1").first(2), status(429).retry_after(1))"#,
            ),
            (
                json!({ "on": "GET blob", "each_first": true, "cut": "response", "after": 1000, "reset": true }),
                "fault(on(GET).blob().each_first(), cut(Response).after(1000).reset())",
            ),
            (
                json!({ "on": "upload", "nth": 2, "stall": "request" }),
                "fault(on_any().upload().nth(2), stall(Request))",
            ),
            (
                json!({ "always": true, "optional": true, "slow": 9 }),
                "fault(on_any().always().optional(), slow(9))",
            ),
            (
                json!({ "on": "*", "lost_answer": true }),
                "fault(on_any(), lost_answer())",
            ),
            (
                json!({ "on": "ping", "refuse": true }),
                "fault(on_any().ping(), refuse())",
            ),
            (json!({ "wrong_length": -3 }), "fault(on_any(), wrong_length(-3))"),
            (
                json!({ "drop_header": "Range" }),
                r#"fault(on_any(), drop_header("range"))"#,
            ),
            (
                json!({ "set_header": { "a": "b" } }),
                r#"fault(on_any(), set_header("a", "b"))"#,
            ),
            (
                json!({ "location": "with_query" }),
                "fault(on_any(), location(WithQuery))",
            ),
            (json!({ "redirect": "loop" }), "fault(on_any(), redirect(Loop))"),
            (
                json!({ "redirect": { "other_host": { "refuse_authorization": true, "expires": 2 } } }),
                "fault(on_any(), redirect(OtherHost { refuse_authorization: true, expires: Some(2) }))",
            ),
            (json!({ "token": "expire" }), "fault(on_any(), token(Expire))"),
            (
                json!({ "token": { "fails": 503 } }),
                "fault(on_any(), token(Fails(503)))",
            ),
        ] {
            assert_eq!(read(rule.clone()).as_deref(), Ok(call), "{rule}");
        }
    }

    #[test]
    fn an_error_names_the_field() {
        for (rule, part) in [
            (json!({}), "there is no fault: one of status, cut"),
            (
                json!({ "status": 500, "refuse": true }),
                "`status` and `refuse` are two faults",
            ),
            (json!({ "statuses": 500 }), "unknown field `statuses`"),
            (json!({ "status": 500, "reset": true }), "unknown field `reset`"),
            (json!({ "status": 100 }), "`status`"),
            (json!({ "status": -1 }), "`status`"),
            (json!({ "status": 500, "retry_after": "1" }), "`retry_after`"),
            (json!({ "status": 500, "retry_at": "\n" }), "`retry_at`"),
            (json!({ "status": 500, "headers": [] }), "`headers`"),
            (json!({ "status": 500, "headers": { " ": "" } }), "`headers`"),
            (json!({ "on": "PUSH manifest", "refuse": true }), "`on`: \"PUSH\""),
            (
                json!({ "on": "PUT manifest blob", "refuse": true }),
                "`on`: \"blob\"",
            ),
            (json!({ "nth": 0, "refuse": true }), "`nth`"),
            (json!({ "nth": 1, "first": 1, "refuse": true }), "one of `nth`"),
            (json!({ "repository": "A", "refuse": true }), "`repository`"),
            (json!({ "digest": "sha256:1", "refuse": true }), "`digest`"),
            (json!({ "tag": "/", "refuse": true }), "`tag`"),
            (json!({ "refuse": false }), "`refuse`: must be true"),
            (
                json!({ "cut": "answer" }),
                "`cut`: must be one of request, response",
            ),
            (json!({ "slow": 0 }), "`slow`"),
            (json!({ "wrong_length": 0 }), "`wrong_length`"),
            (json!({ "drop_header": "a b" }), "`drop_header`"),
            (json!({ "set_header": {} }), "`set_header`"),
            (json!({ "set_header": { "a": 1 } }), "`set_header`"),
            (json!({ "location": 1 }), "`location`"),
            (json!({ "redirect": { "other_host": 1 } }), "`redirect`"),
            (json!({ "redirect": { "expires": 1 } }), "unknown field `expires`"),
            (json!({ "token": { "fails": 1 } }), "`fails`"),
        ] {
            let error = read(rule.clone()).expect_err("the rule is wrong");
            assert!(error.contains(part), "{rule}: {error}");
        }
    }
}
