//! One answer on its way from the registry to the client.

use super::{
    canned::Canned,
    fault::{Fault, Location, Redirect, Token},
    message::{Flow, Framing, Head, closes, copy},
    ongoing::{Applied, Ongoing},
    patience::lock,
    record::Reply,
    side::Side,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::{
    borrow::Cow,
    io::{self, BufRead, Write as _},
};

/// Maximum number of bytes of an answer of a token endpoint that is changed.
const MAX_TOKEN: usize = 1 << 20;

/// Passes an answer on; returns true if the connection ends with it.
pub(super) fn pass(ongoing: &Ongoing<'_>, head: Head, from: &mut impl BufRead) -> io::Result<bool> {
    let status = head.status().ok_or(io::ErrorKind::InvalidData)?;
    let framing = Framing::of_response(&ongoing.method, status, &head.headers());
    let challenged = (status == StatusCode::UNAUTHORIZED).then(|| ongoing.challenged());
    let ongoing = challenged.as_ref().unwrap_or(ongoing);
    ongoing.before(Side::Response, 0, 0)?;
    if let Some(canned) = redirected(ongoing, status) {
        copy(from, &mut io::sink(), framing, false, &mut Ok)?;
        let bytes = canned.bytes(ongoing.last || framing == Framing::UntilClose);
        return forward_bytes(ongoing, &bytes, framing == Framing::UntilClose);
    }
    if ongoing.rules.iter().any(changes_token) && status.is_success() {
        return pass_token(ongoing, head, from, framing);
    }
    forward(ongoing, head, from)
}

/// Passes an answer of the tap itself on.
pub(super) fn give(ongoing: &Ongoing<'_>, canned: Canned, last: bool) -> io::Result<bool> {
    let bytes = canned.bytes(last);
    ongoing.before(Side::Response, 0, 0)?;
    forward_bytes(ongoing, &bytes, last)
}

fn forward_bytes(ongoing: &Ongoing<'_>, mut bytes: &[u8], last: bool) -> io::Result<bool> {
    let head = Head::read(&mut bytes)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(forward(ongoing, head, &mut bytes)? || last)
}

fn forward(ongoing: &Ongoing<'_>, mut head: Head, from: &mut impl BufRead) -> io::Result<bool> {
    let status = head.status().ok_or(io::ErrorKind::InvalidData)?;
    let framing = Framing::of_response(&ongoing.method, status, &head.headers());
    ongoing.change_headers(&mut head, status);
    let headers = head.headers();
    let rechunk = matches!(framing, Framing::Length(_)) && !headers.contains_key(header::CONTENT_LENGTH);
    if rechunk {
        head.set(&header::TRANSFER_ENCODING, &HeaderValue::from_static("chunked"));
    }
    lock(&ongoing.exchange).reply = Some(Reply {
        status,
        headers: head.headers(),
        received: 0,
    });
    let mut client = ongoing.client;
    head.write(&mut client)?;
    let mut body = Body {
        ongoing,
        position: 0,
        begins: true,
    };
    copy(from, &mut client, framing, rechunk, &mut body)?;
    client.flush()?;
    // Clients may wait for the end that the registry has announced, or for bytes that do not exist.
    Ok(framing == Framing::UntilClose || closes(&headers) || !(rechunk || framing.agrees(&headers)))
}

/// The body of an answer on its way.
struct Body<'a, 'c> {
    ongoing: &'a Ongoing<'c>,
    position: u64,
    begins: bool,
}

impl Flow for Body<'_, '_> {
    fn allow(&mut self, most: usize) -> io::Result<usize> {
        let allowed = self.ongoing.before(Side::Response, self.position, most)?;
        self.position += allowed as u64;
        if let Some(reply) = &mut lock(&self.ongoing.exchange).reply {
            reply.received = self.position;
        }
        Ok(allowed)
    }

    fn change<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        let is_first = std::mem::take(&mut self.begins);
        let wrong =
            |applied: &Applied| matches!(applied.rule.fault, Fault::WrongBytes) && self.ongoing.take(applied);
        if !is_first || !self.ongoing.rules.iter().any(wrong) {
            return Cow::Borrowed(piece);
        }
        let mut changed = piece.to_owned();
        if let Some(first) = changed.first_mut() {
            *first ^= 1;
        }
        Cow::Owned(changed)
    }
}

/// Returns a redirect if a rule asks for it: in place of content.
fn redirected(ongoing: &Ongoing<'_>, status: StatusCode) -> Option<Canned> {
    let serves = status.is_success() && matches!(ongoing.method, Method::GET | Method::HEAD);
    let to = ongoing
        .rules
        .iter()
        .find_map(|applied| match applied.rule.fault {
            Fault::Redirect(to) if serves && ongoing.take(applied) => Some(to),
            _ => None,
        })?;
    let exchange = lock(&ongoing.exchange).clone();
    ongoing.journal.detours.redirect(to, &exchange)
}

fn changes_token(applied: &Applied) -> bool {
    matches!(
        applied.rule.fault,
        Fault::Token(Token::NoExpiresIn | Token::AccessTokenOnly)
    )
}

/// Passes the answer of a token endpoint on, with another document.
fn pass_token(
    ongoing: &Ongoing<'_>,
    mut head: Head,
    from: &mut impl BufRead,
    framing: Framing,
) -> io::Result<bool> {
    let mut whole = Collected(Vec::new());
    copy(from, &mut io::sink(), framing, false, &mut whole)?;
    let mut body = whole.0;
    if let Ok(serde_json::Value::Object(mut document)) = serde_json::from_slice(&body) {
        for applied in &ongoing.rules {
            change_token(ongoing, applied, &mut document);
        }
        body = serde_json::Value::Object(document).to_string().into_bytes();
    }
    head.remove(&header::TRANSFER_ENCODING);
    head.set(&header::CONTENT_LENGTH, &HeaderValue::from(body.len()));
    Ok(forward(ongoing, head, &mut &body[..])? || framing == Framing::UntilClose)
}

fn change_token(
    ongoing: &Ongoing<'_>,
    applied: &Applied,
    document: &mut serde_json::Map<String, serde_json::Value>,
) {
    match applied.rule.fault {
        Fault::Token(Token::NoExpiresIn) if document.contains_key("expires_in") && ongoing.take(applied) => {
            document.remove("expires_in");
        }
        Fault::Token(Token::AccessTokenOnly) if document.contains_key("token") && ongoing.take(applied) => {
            if let Some(token) = document.remove("token") {
                document.insert("access_token".to_owned(), token);
            }
        }
        _ => {}
    }
}

/// A body that is kept.
struct Collected(Vec<u8>);

impl Flow for Collected {
    fn allow(&mut self, most: usize) -> io::Result<usize> {
        match self.0.len().checked_add(most) {
            Some(length) if length <= MAX_TOKEN => Ok(most),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn change<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        self.0.extend_from_slice(piece);
        Cow::Borrowed(piece)
    }
}

impl Ongoing<'_> {
    /// Applies the rules for headers.
    fn change_headers(&self, head: &mut Head, status: StatusCode) {
        for applied in &self.rules {
            let headers = head.headers();
            match &applied.rule.fault {
                Fault::RemoveHeader(name) if headers.contains_key(name) && self.take(applied) => {
                    head.remove(name);
                }
                Fault::SetHeader(name, value) if self.take(applied) => head.set(name, value),
                Fault::RangeUnit => {
                    if let Some(range) = with_unit(&headers)
                        && self.take(applied)
                    {
                        head.set(&header::RANGE, &range);
                    }
                }
                Fault::WrongLength(by) => {
                    if let Some(length) = changed_length(&headers, *by)
                        && self.take(applied)
                    {
                        head.set(&header::CONTENT_LENGTH, &HeaderValue::from(length));
                    }
                }
                Fault::Location(form) => {
                    if let Some(location) = self.location(*form, &headers)
                        && self.take(applied)
                    {
                        head.set(&header::LOCATION, &location);
                    }
                }
                Fault::Token(Token::OtherRealm) if status == StatusCode::UNAUTHORIZED => {
                    let challenge = headers.get(header::WWW_AUTHENTICATE);
                    if let Some(changed) = challenge.and_then(|one| self.journal.detours.challenge(one))
                        && self.take(applied)
                    {
                        head.set(&header::WWW_AUTHENTICATE, &changed);
                    }
                }
                _ => {}
            }
        }
        if let Some(location) = head.headers().get(header::LOCATION) {
            self.journal.detours.announce(location);
        }
    }

    fn location(&self, form: Location, headers: &HeaderMap) -> Option<HeaderValue> {
        let location = headers.get(header::LOCATION)?;
        let exchange = lock(&self.exchange);
        let host = exchange.headers.get(header::HOST)?.to_str().ok()?;
        self.journal.detours.location(form, location, host)
    }
}

fn with_unit(headers: &HeaderMap) -> Option<HeaderValue> {
    let range = headers.get(header::RANGE)?.as_bytes();
    HeaderValue::from_bytes(&[b"bytes=", range].concat()).ok()
}

fn changed_length(headers: &HeaderMap, by: i64) -> Option<u64> {
    let length: u64 = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    Some(length.saturating_add_signed(by)).filter(|changed| *changed != length)
}

/// Returns true if a fault leads clients to the second host.
pub(super) const fn needs_other_host(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Location(Location::OtherHost)
            | Fault::Redirect(Redirect::OtherHost { .. })
            | Fault::Token(Token::OtherRealm)
    )
}
