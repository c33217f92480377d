//! Checks of an [`Answer`]. Every check returns the answer, so that checks can be chained.

use super::{client::Answer, failure::Failure};
use serde_json::Value;

/// The closed list of error codes of the specification, with the additions of the Docker API.
const CODES: [&str; 19] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "TAG_INVALID",
    "MANIFEST_UNVERIFIED",
    "PAGINATION_NUMBER_INVALID",
    "RANGE_INVALID",
    "UNKNOWN",
];

impl Answer {
    /// Checks that the status is this one.
    pub(super) fn is(self, status: u16) -> Result<Self, Failure> {
        self.one_of(&[status])
    }

    /// Checks that the status is one of these.
    pub(super) fn one_of(self, statuses: &[u16]) -> Result<Self, Failure> {
        if statuses.contains(&self.status.as_u16()) {
            return Ok(self);
        }
        let list: Vec<String> = statuses.iter().map(u16::to_string).collect();
        Err(self.fail(&format!("status {}", list.join(" or "))))
    }

    /// Checks that the header is present once, with exactly this value.
    pub(super) fn has(self, name: &str, value: &str) -> Result<Self, Failure> {
        let mut values = self.headers.get_all(name).iter();
        if (values.next().map(|found| found.as_bytes()), values.next()) == (Some(value.as_bytes()), None) {
            return Ok(self);
        }
        Err(self.fail(&format!("{name}: {value}")))
    }

    /// Checks that there is no such header.
    pub(super) fn lacks(self, name: &str) -> Result<Self, Failure> {
        if self.headers.contains_key(name) {
            return Err(self.fail(&format!("no {name}")));
        }
        Ok(self)
    }

    /// Checks that the body is exactly this.
    pub(super) fn body_is(self, body: &[u8]) -> Result<Self, Failure> {
        if self.body == body {
            return Ok(self);
        }
        Err(self.fail(&format!(
            "a body of exactly the {} bytes that were pushed",
            body.len()
        )))
    }

    /// Checks another condition, which `expected` describes.
    pub(super) fn check(self, expected: &str, holds: impl FnOnce(&Self) -> bool) -> Result<Self, Failure> {
        if holds(&self) {
            return Ok(self);
        }
        Err(self.fail(expected))
    }

    /// Checks for an error of this status, in the specification's JSON, in which every code is one of `codes`.
    pub(super) fn error(self, status: u16, codes: &[&str]) -> Result<Self, Failure> {
        let answer = self.is(status)?.json_error()?;
        let found = answer.codes();
        if found.iter().all(|code| codes.contains(&code.as_str())) {
            return Ok(answer);
        }
        Err(answer.fail(&format!("an error with the code {}", codes.join(" or "))))
    }

    /// Checks for an error body in the specification's format, declared as JSON, with codes of its list.
    pub(super) fn json_error(self) -> Result<Self, Failure> {
        let declared = self
            .header("content-type")
            .is_some_and(|value| value.split(';').next() == Some("application/json"));
        if !declared {
            return Err(self.fail("an error body of the type application/json"));
        }
        let errors = self.errors();
        let well_formed = |error: &Value| {
            let code = error.get("code").and_then(Value::as_str);
            let message = error.get("message");
            code.is_some_and(|code| CODES.contains(&code)) && message.is_none_or(Value::is_string)
        };
        if errors
            .as_ref()
            .is_some_and(|errors| !errors.is_empty() && errors.iter().all(well_formed))
        {
            return Ok(self);
        }
        Err(self.fail(r#"{"errors":[{"code","message"?,"detail"?}]} with codes of the specification"#))
    }

    fn errors(&self) -> Option<Vec<Value>> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body.get("errors")?.as_array().cloned()
    }

    /// Returns the codes of the errors in the body.
    pub(super) fn codes(&self) -> Vec<String> {
        let code = |error: Value| Some(error.get("code")?.as_str()?.to_owned());
        self.errors().into_iter().flatten().filter_map(code).collect()
    }

    /// Returns the value of a header, if it is present once and readable.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }

    /// Returns the body as JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| self.fail(&format!("a JSON body ({error})")))
    }

    /// Returns the strings in the array under `key` of a JSON body.
    pub(super) fn strings(&self, key: &str) -> Result<Vec<String>, Failure> {
        let strings = |value: &Value| {
            let text = |item: &Value| item.as_str().map(str::to_owned);
            value
                .get(key)?
                .as_array()?
                .iter()
                .map(text)
                .collect::<Option<Vec<_>>>()
        };
        strings(&self.json()?).ok_or_else(|| self.fail(&format!("a list of strings {key:?}")))
    }

    /// Returns the target of `Link: <…>; rel="next"`, if there is one.
    pub(super) fn next_link(&self) -> Result<Option<String>, Failure> {
        if !self.headers.contains_key("link") {
            return Ok(None);
        }
        let target = |link: &str| {
            let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
            let parameter = parameters.trim_start_matches([';', ' ']);
            matches!(parameter, r#"rel="next""# | "rel=next").then(|| target.to_owned())
        };
        match self.header("link").and_then(target) {
            Some(target) => Ok(Some(target)),
            None => Err(self.fail(r#"Link: <…>; rel="next""#)),
        }
    }

    /// Returns the number of bytes of an upload session, from `Range: 0-<last>`. `0-0` means none: no case stores one
    /// byte.
    pub(super) fn kept(&self) -> Result<usize, Failure> {
        let last = self.header("range").and_then(|range| range.strip_prefix("0-"));
        match last.and_then(|last| last.parse::<usize>().ok()) {
            Some(0) => Ok(0),
            Some(last) => Ok(last + 1),
            None => Err(self.fail("Range: 0-<the last byte kept>")),
        }
    }

    /// Checks that the session holds exactly this number of bytes.
    pub(super) fn keeps(self, bytes: usize) -> Result<Self, Failure> {
        if self.kept()? == bytes {
            return Ok(self);
        }
        Err(self.fail(&format!("Range: 0-{}", bytes.saturating_sub(1))))
    }
}
