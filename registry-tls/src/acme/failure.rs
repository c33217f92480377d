//! Reasons why there is no certificate, in words for an operator.

use super::ChallengeKind;
use crate::error::TlsError;
use instant_acme::{Error, Problem};

/// A failure of an order.
#[derive(Debug)]
pub(super) struct Failure {
    /// Description of the failure, with its remedy.
    pub(super) story: String,
    /// True if the failure goes away by itself.
    pub(super) transient: bool,
    /// True if the authority does not know the account (any more).
    pub(super) account_unknown: bool,
}

impl Failure {
    /// Makes a failure that needs an operator.
    pub(super) fn lasting(story: impl Into<String>) -> Self {
        Self {
            story: story.into(),
            transient: false,
            account_unknown: false,
        }
    }

    /// Makes a failure that only needs another try.
    pub(super) fn transient(story: impl Into<String>) -> Self {
        Self {
            transient: true,
            ..Self::lasting(story)
        }
    }

    /// Translates an error of the client library.
    pub(super) fn from_error(error: &Error, kind: ChallengeKind) -> Self {
        match error {
            Error::Api(problem) => Self::from_problem(problem, kind),
            Error::Timeout(_) => Self::transient("the authority did not decide in time"),
            other => {
                let mut story = format!("the request to the authority failed: {other}");
                let mut source = std::error::Error::source(other);
                while let Some(cause) = source {
                    story.push_str(&format!(": {cause}"));
                    source = cause.source();
                }
                if story.contains("invalid peer certificate") {
                    story.push_str(" (its certificate is not trusted: set a CA file for the directory)");
                }
                Self::transient(story)
            }
        }
    }

    /// Translates a problem that the authority reports (RFC 8555, section 6.7).
    pub(super) fn from_problem(problem: &Problem, kind: ChallengeKind) -> Self {
        let detail = problem.detail.as_deref().unwrap_or("no details given");
        let code = problem
            .r#type
            .as_deref()
            .and_then(|code| code.rsplit(':').next())
            .unwrap_or_default();
        let lasting = |what: &str, hint: &str| Self::lasting(format!("{what} ({detail}){hint}"));
        match code {
            "badNonce" | "serverInternal" => {
                Self::transient(format!("the authority failed ({code}: {detail})"))
            }
            "rateLimited" => lasting(
                "the rate limit of the authority is reached",
                ": wait until it allows more; for tests, use the staging directory of the authority",
            ),
            "accountDoesNotExist" => Self {
                account_unknown: true,
                ..Self::transient(format!(
                    "the authority does not know the account ({detail}): a new one is created"
                ))
            },
            "connection" | "dns" | "tls" | "unauthorized" | "incorrectResponse" => lasting(
                "the authority could not verify the challenge",
                match kind {
                    ChallengeKind::TlsAlpn01 => {
                        ": the name must resolve to this server, and its port 443 must reach this listener, without \
                         a proxy that terminates TLS in between"
                    }
                    ChallengeKind::Http01 => {
                        ": the name must resolve to this server, and its port 80 must reach the listener that \
                         answers challenges"
                    }
                },
            ),
            "caa" => lasting(
                "a CAA record of the domain forbids this authority",
                ": add the authority to it",
            ),
            "rejectedIdentifier" | "unsupportedIdentifier" => lasting(
                "the authority does not issue certificates for this name",
                ": is it a public host name?",
            ),
            "externalAccountRequired" => lasting(
                "the authority requires an external account",
                ": external accounts are not supported, use another authority",
            ),
            "invalidContact" | "unsupportedContact" => lasting(
                "the authority rejects the e-mail address",
                ": set another one, or none",
            ),
            "userActionRequired" => lasting("the authority requires an action in a browser", ""),
            _ => lasting(&format!("the authority refused ({code})"), ""),
        }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::lasting(error.story())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str) -> Failure {
        let json = format!(r#"{{"type":"urn:ietf:params:acme:error:{code}","detail":"because"}}"#);
        let problem: Problem = serde_json::from_str(&json).unwrap();
        Failure::from_problem(&problem, ChallengeKind::Http01)
    }

    #[test]
    fn rejected_nonces_are_tried_again_soon() {
        assert!(failure("badNonce").transient);
    }

    #[test]
    fn a_proof_that_was_not_found_says_which_port_has_to_be_reached() {
        let failure = failure("connection");

        assert!(!failure.transient);
        assert!(failure.story.contains("(because)"), "{}", failure.story);
        assert!(failure.story.contains("port 80"), "{}", failure.story);
    }

    #[test]
    fn an_account_that_is_gone_is_made_anew() {
        assert!(failure("accountDoesNotExist").account_unknown);
    }

    #[test]
    fn what_nobody_foresaw_keeps_its_code_and_details() {
        assert_eq!(
            failure("teapot").story,
            "the authority refused (teapot) (because)"
        );
    }
}
