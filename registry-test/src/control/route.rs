//! The routes of the control API: [`Call`].

use http::{Method, StatusCode};
use std::fmt;

/// A request of the control API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Seed,
    AddFault,
    ClearFaults,
    Faults,
    Requests { take: bool },
    State,
    AssertPushed,
    ExpireTokens,
    Restart,
    Pause,
    Stop,
    Resume,
    OpenGate(String),
    Reset,
}

/// A request that is no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoCall {
    /// The path lacks the token, or is unknown. The answer is the same, so that nobody can search for the token by parts.
    NotFound,
    /// The path has no such method.
    Method,
    /// The query has an unknown parameter.
    Query,
}

impl Call {
    /// Parses a method, a path and a query. The first segment of the path must be `token`.
    pub(super) fn parse(
        method: &Method,
        path: &str,
        query: Option<&str>,
        token: &str,
    ) -> Result<Self, NoCall> {
        let (given, call) = (path.strip_prefix('/'))
            .and_then(|path| path.split_once('/'))
            .ok_or(NoCall::NotFound)?;
        if !same(given, token) {
            return Err(NoCall::NotFound);
        }
        let (methods, found): (&[Method], _) = match call {
            "requests" => (
                &[Method::GET],
                Self::Requests {
                    take: query == Some("take=1"),
                },
            ),
            "state" => (&[Method::GET], Self::State),
            "seed" => (&[Method::POST], Self::Seed),
            "faults" => match *method {
                Method::GET => (&[Method::GET], Self::Faults),
                Method::DELETE => (&[Method::DELETE], Self::ClearFaults),
                _ => (&[Method::POST], Self::AddFault),
            },
            "expire-tokens" => (&[Method::POST], Self::ExpireTokens),
            "restart" => (&[Method::POST], Self::Restart),
            "pause" => (&[Method::POST], Self::Pause),
            "stop" => (&[Method::POST], Self::Stop),
            "resume" => (&[Method::POST], Self::Resume),
            "assert-pushed" => (&[Method::POST], Self::AssertPushed),
            "reset" => (&[Method::POST], Self::Reset),
            other => (
                &[Method::POST],
                Self::OpenGate(gate(other).ok_or(NoCall::NotFound)?),
            ),
        };
        if !methods.contains(method) {
            return Err(NoCall::Method);
        }
        match (query, &found) {
            (None | Some(""), _) | (Some("take=0" | "take=1"), Self::Requests { .. }) => Ok(found),
            _ => Err(NoCall::Query),
        }
    }
}

impl NoCall {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Query => StatusCode::BAD_REQUEST,
        }
    }
}

impl fmt::Display for NoCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such call, or the token in the path is wrong",
            Self::Method => "the call has no such method",
            Self::Query => "unknown query; the only one is `take=1` of `requests`",
        })
    }
}

/// Returns the name in `gates/NAME/open`.
fn gate(call: &str) -> Option<String> {
    let name = call.strip_prefix("gates/")?.strip_suffix("/open")?;
    is_gate(name).then(|| name.to_owned())
}

/// Returns true if a gate can have this name. It has no character that a path would have to escape.
pub(super) fn is_gate(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // Clients resolve a segment of dots alone.
    !name.is_empty() && name.bytes().all(plain) && name.bytes().any(|byte| byte != b'.')
}

/// Compares two texts in a time that does not depend on their content.
fn same(given: &str, token: &str) -> bool {
    let differences = (given.bytes().zip(token.bytes())).fold(0, |seen, (one, other)| seen | (one ^ other));
    given.len() == token.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::{Call, NoCall};
    use http::Method;

    fn parse(method: &Method, target: &str) -> Result<Call, NoCall> {
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query)));
        Call::parse(method, path, query, "t0ken")
    }

    #[test]
    fn a_path_without_the_whole_token_is_not_found() {
        for target in [
            "",
            "/",
            "/state",
            "/t0ke/state",
            "/t0kenn/state",
            "/T0ken/state",
            "//state",
            "t0ken/state",
        ] {
            assert_eq!(parse(&Method::GET, target), Err(NoCall::NotFound), "{target}");
        }
        assert_eq!(parse(&Method::GET, "/t0ken/state"), Ok(Call::State));
    }

    #[test]
    fn each_call_has_its_methods_and_parameters() {
        assert_eq!(
            parse(&Method::GET, "/t0ken/requests"),
            Ok(Call::Requests { take: false })
        );
        assert_eq!(
            parse(&Method::GET, "/t0ken/requests?take=1"),
            Ok(Call::Requests { take: true })
        );
        assert_eq!(parse(&Method::GET, "/t0ken/requests?tak=1"), Err(NoCall::Query));
        assert_eq!(parse(&Method::GET, "/t0ken/state?take=1"), Err(NoCall::Query));
        assert_eq!(parse(&Method::DELETE, "/t0ken/faults"), Ok(Call::ClearFaults));
        assert_eq!(parse(&Method::PUT, "/t0ken/faults"), Err(NoCall::Method));
        assert_eq!(parse(&Method::GET, "/t0ken/reset"), Err(NoCall::Method));
    }

    #[test]
    fn gates_have_plain_names() {
        assert_eq!(
            parse(&Method::POST, "/t0ken/gates/a-1/open"),
            Ok(Call::OpenGate("a-1".to_owned()))
        );
        for target in [
            "/t0ken/gates//open",
            "/t0ken/gates/../open",
            "/t0ken/gates/a/b/open",
            "/t0ken/gates/a%20/open",
            "/t0ken/gates/a",
            "/t0ken/gates",
        ] {
            assert_eq!(parse(&Method::POST, target), Err(NoCall::NotFound), "{target}");
        }
    }
}
