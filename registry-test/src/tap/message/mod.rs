//! HTTP/1 messages as far as a proxy has to understand them: heads line by line, and the ends of bodies.

mod body;

pub(super) use self::body::{Flow, Framing, copy};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use std::io::{self, BufRead, Read as _, Write};

/// Maximum number of bytes of a head that is passed on.
const MAX_HEAD: u64 = 1 << 20;
/// Maximum number of lines of a head that is passed on. A [`HeaderMap`] has room for them.
const MAX_FIELDS: usize = 4096;

/// The head of a message: its lines as received.
pub(super) struct Head {
    start: Vec<u8>,
    fields: Vec<Vec<u8>>,
}

impl Head {
    /// Reads up to the empty line; `None` if there is no further message.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut from = from.take(MAX_HEAD);
        let mut start = Vec::new();
        if from.read_until(b'\n', &mut start)? == 0 {
            return Ok(None);
        }
        let mut fields = Vec::new();
        loop {
            let mut line = Vec::new();
            from.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.trim_ascii().is_empty() {
                return Ok(Some(Self { start, fields }));
            }
            if fields.len() == MAX_FIELDS {
                return Err(io::ErrorKind::InvalidData.into());
            }
            fields.push(line);
        }
    }

    /// Returns the head of a response.
    pub(super) fn response(status: StatusCode, headers: &HeaderMap) -> Self {
        let reason = status.canonical_reason().unwrap_or("Unknown");
        let start = format!("HTTP/1.1 {} {reason}\r\n", status.as_str());
        Self {
            start: start.into_bytes(),
            fields: headers.iter().map(|(name, value)| line(name, value)).collect(),
        }
    }

    /// Returns method and target from the first line of a request.
    pub(super) fn request(&self) -> Option<(Method, &str)> {
        let mut words = str::from_utf8(&self.start).ok()?.split_ascii_whitespace();
        let method = Method::from_bytes(words.next()?.as_bytes()).ok()?;
        Some((method, words.next()?))
    }

    /// Replaces the target in the first line of a request.
    pub(super) fn set_target(&mut self, target: &str) {
        let text = String::from_utf8_lossy(&self.start);
        let mut words = text.split_ascii_whitespace();
        let (method, version) = (words.next(), words.nth(1));
        self.start = [method, Some(target), version]
            .map(Option::unwrap_or_default)
            .join(" ")
            .into_bytes();
        self.start.extend_from_slice(b"\r\n");
    }

    /// Returns true if the connection ends with the answer to this request.
    pub(super) fn is_last(&self) -> bool {
        let headers = self.headers();
        let is_old = self.start.trim_ascii_end().ends_with(b"HTTP/1.0");
        closes(&headers) || (is_old && !has_option(&headers, "keep-alive"))
    }

    /// Returns the status from the first line of a response.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let line = str::from_utf8(&self.start).ok()?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// Returns the well-formed headers.
    pub(super) fn headers(&self) -> HeaderMap {
        self.fields.iter().filter_map(|line| field(line)).collect()
    }

    pub(super) fn remove(&mut self, name: &HeaderName) {
        self.fields
            .retain(|line| field(line).is_none_or(|(present, _)| present != name));
    }

    pub(super) fn set(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.remove(name);
        self.fields.push(line(name, value));
    }

    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = self.start.clone();
        bytes.extend(self.fields.concat());
        bytes.extend_from_slice(b"\r\n");
        to.write_all(&bytes)
    }
}

fn line(name: &HeaderName, value: &HeaderValue) -> Vec<u8> {
    [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat()
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.get(1..)?.trim_ascii();
    Some((
        HeaderName::from_bytes(name).ok()?,
        HeaderValue::from_bytes(value).ok()?,
    ))
}

/// Returns true if a message announces the end of the connection.
pub(super) fn closes(headers: &HeaderMap) -> bool {
    has_option(headers, "close")
}

fn has_option(headers: &HeaderMap, option: &str) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut options = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    options.any(|one| one.trim().eq_ignore_ascii_case(option))
}

#[cfg(test)]
mod tests;
