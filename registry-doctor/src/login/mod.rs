//! Checks of the login: it is accepted, or a proxy or the registry refuses it.

mod attempt;
mod token;

pub(super) use self::attempt::Login;

use super::{
    base::Base,
    challenge::Challenge,
    client::{Answer, Door, Question},
    finding::{Check, Finding, Verdict},
};
use http::{HeaderValue, StatusCode, header};

/// Outcome of the attempt to log in.
#[derive(Debug)]
pub(super) enum Standing {
    /// No user was given.
    Stranger,
    /// The password was not sent: the server is not trusted, or no time was left.
    Untried,
    Refused,
    User {
        name: String,
        /// Value of `Authorization` for each request.
        authorization: HeaderValue,
    },
}

impl Standing {
    pub(super) const fn authorization(&self) -> Option<&HeaderValue> {
        match self {
            Self::User { authorization, .. } => Some(authorization),
            _ => None,
        }
    }

    fn without(finding: &Finding) -> Self {
        if finding.verdict == Verdict::Skipped {
            Self::Untried
        } else {
            Self::Refused
        }
    }
}

impl Login<'_> {
    /// Logs in at this door.
    pub(super) async fn at(&self, door: &Door, base: &Base, found: &mut Vec<Finding>) -> Standing {
        if let Some(why) = self.unsafe_to_tell(door) {
            found.push(Finding::skipped(Check::Login, why));
            return Standing::Untried;
        }
        let authorization = match &base.challenge {
            Some(challenge) if challenge.bearer => match token::fetch(self, challenge).await {
                Ok(token) => token,
                Err(finding) => {
                    let standing = Standing::without(&finding);
                    found.push(finding);
                    return standing;
                }
            },
            _ => self.credentials.basic(),
        };
        let question = Question::get(door.path("/v2/")).login(Some(&authorization));
        let answer = self.client.ask(door, question).await;
        let let_in = answer.as_ref().is_ok_and(|answer| answer.status.is_success());
        let finding = match answer {
            Ok(answer) => self.judged(base, &answer),
            Err(failure) => Finding::unanswered(Check::Login, &failure, failure.to_string()),
        };
        let standing = if let_in {
            Standing::User {
                name: self.credentials.user().to_owned(),
                authorization,
            }
        } else {
            Standing::without(&finding)
        };
        found.push(finding);
        standing
    }

    fn judged(&self, base: &Base, answer: &Answer) -> Finding {
        let user = self.credentials.user();
        if answer.status.is_success() && base.open {
            let why = format!("`/v2/` requires no login, so the password of {user} cannot be checked");
            return Finding::skipped(Check::Login, why);
        }
        if answer.status.is_success() {
            return Finding::ok(Check::Login, format!("as {user}"));
        }
        if answer.status != StatusCode::UNAUTHORIZED {
            return Finding::fault(Check::Login, format!("as {user}: {}", answer.summary()))
                .server("see the log of the registry");
        }
        if base.challenge.as_ref().is_some_and(|challenge| challenge.bearer) {
            return Finding::fault(
                Check::Login,
                format!("{} refuses the token of its own service", answer.speaker()),
            )
            .server(
                "issuer, service, the certificate of the service, and the clocks must be the same for the service and the registry",
            );
        }
        if is_same_asker(base, answer) {
            self.refused(answer)
        } else {
            two_askers(&base.answer, answer)
        }
    }

    fn refused(&self, answer: &Answer) -> Finding {
        let (by, user) = (answer.speaker(), self.credentials.user());
        let finding = Finding::fault(
            Check::Login,
            format!("{by} does not accept {user} with this password"),
        )
        .client("are name and password right?");
        if answer.is_of_registry() {
            finding.server(
                "check the password with `registry htpasswd -v FILE USER`; registry:2 supports bcrypt only (`htpasswd -B`)",
            )
        } else {
            finding.server(format!(
                "{by} asks for the login, not the registry, so its password file counts. If the registry has a password file, too, both need the same file, because a request has one `Authorization`"
            ))
        }
    }
}

/// Returns true if a login was answered by the server that asked for it. Proxy and registry differ in wording or realm.
fn is_same_asker(base: &Base, answer: &Answer) -> bool {
    let first = &base.answer;
    first.status != StatusCode::UNAUTHORIZED
        || (first.is_of_registry() == answer.is_of_registry() && base.challenge == Challenge::of(answer))
}

/// Reports that one server accepts the login and a second one refuses it.
fn two_askers(first: &Answer, second: &Answer) -> Finding {
    let realm = |answer: &Answer| answer.header(header::WWW_AUTHENTICATE).unwrap_or_default();
    Finding::fault(
        Check::Login,
        format!(
            "there are two password files. {} (`{}`) accepts the login and forwards it, then {} (`{}`) refuses it: both check the same `Authorization`",
            first.speaker(),
            realm(first),
            second.speaker(),
            realm(second),
        ),
    )
    .client("use a user with the same password in both files")
    .server(
        "let only one of them ask: remove `auth_basic` (Apache: `AuthType`) from the proxy; or remove `auth.htpasswd` from the registry, and allow only the proxy to reach it; or use the same file for both",
    )
}
