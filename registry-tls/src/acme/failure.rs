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
            Error::Timeout(_) => Self::transient("the authority did not come to a decision in time"),
            other => {
                let mut story = format!("the authority cannot be asked: {other}");
                let mut source = std::error::Error::source(other);
                while let Some(cause) = source {
                    story.push_str(&format!(": {cause}"));
                    source = cause.source();
                }
                if story.contains("invalid peer certificate") {
                    story.push_str(" (its own certificate is not trusted: set a CA file for the directory)");
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
            "badNonce" | "serverInternal" => Self::transient(format!(
                "the authority has a problem of its own ({code}: {detail})"
            )),
            "rateLimited" => lasting(
                "the authority's rate limit is reached",
                ": nothing to do but wait; try things out with the authority's staging directory",
            ),
            "accountDoesNotExist" => Self {
                account_unknown: true,
                ..Self::transient(format!(
                    "the authority does not know the account ({detail}): a new one is made"
                ))
            },
            "connection" | "dns" | "tls" | "unauthorized" | "incorrectResponse" => lasting(
                "the authority did not find its proof",
                match kind {
                    ChallengeKind::TlsAlpn01 => {
                        ": the name has to resolve to this server, and its port 443 has to reach this listener, \
                         without a proxy that ends TLS in between"
                    }
                    ChallengeKind::Http01 => {
                        ": the name has to resolve to this server, and its port 80 has to reach the listener that \
                         answers challenges"
                    }
                },
            ),
            "caa" => lasting(
                "a CAA record of the domain forbids this authority",
                ": add the authority to it",
            ),
            "rejectedIdentifier" | "unsupportedIdentifier" => lasting(
                "the authority signs nothing for this name",
                ": is it a public host name?",
            ),
            "externalAccountRequired" => lasting(
                "the authority wants an account that was made elsewhere",
                ": such accounts are not offered here, use another authority",
            ),
            "invalidContact" | "unsupportedContact" => lasting(
                "the authority does not take the e-mail address",
                ": set another one, or none",
            ),
            "userActionRequired" => lasting("the authority wants something done in a browser", ""),
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
