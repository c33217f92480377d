//! `/v2/`: is a registry there, does it ask for a login, who asks, and does the login count?

use super::origin::Scheme;
use super::{
    client::{API_VERSION, Answer, Client, Door, Peers, Question},
    finding::{Check, Finding},
    login::Credentials,
    target::Target,
};
use axum::http::{HeaderValue, StatusCode, Uri, Version, header};

/// What the base says to a stranger.
#[derive(Debug)]
pub(super) struct Base {
    /// Whether a stranger is let in.
    pub(super) open: bool,
    answer: Answer,
    challenge: Option<Challenge>,
}

/// What is asked for a login.
#[derive(Debug)]
struct Challenge {
    bearer: bool,
    realm: Option<String>,
}

/// Asks for the base as a stranger. `None` if there is no registry.
pub(super) async fn examine(client: &Client, door: &Door, found: &mut Vec<Finding>) -> Option<Base> {
    let path = door.path("/v2/");
    let answer = match client.ask(door, Question::get(&path)).await {
        Ok(answer) => answer,
        Err(failure) => {
            found.push(
                Finding::unanswered(
                    Check::Base,
                    &failure,
                    format!("`GET {path}` has no answer: {failure}"),
                )
                .server("does what stands before the registry reach it? Its error log says why not"),
            );
            return None;
        }
    };
    if let Some(fault) = no_registry(&answer, &path) {
        found.push(fault);
        return None;
    }
    found.push(Finding::ok(Check::Base, answer.summary()));
    if answer.version < Version::HTTP_11 {
        found.push(
            Finding::warning(
                Check::Base,
                "the answer is in HTTP/1.0: each request costs a connection, and a layer cannot be sent in \
                 chunks",
            )
            .server("a newer proxy, or HTTP/1.1 turned on in it"),
        );
    }
    found.push(api_version(&answer));
    let challenge = challenge(&answer, found);
    Some(Base {
        open: answer.status.is_success(),
        answer,
        challenge,
    })
}

/// What is wrong if this is no answer of a registry's base.
fn no_registry(answer: &Answer, path: &str) -> Option<Finding> {
    let (status, summary) = (answer.status, answer.summary());
    let fault = |seen: String| Finding::fault(Check::Base, seen);
    if status == StatusCode::UNAUTHORIZED || (status.is_success() && answer.is_of_registry()) {
        return None;
    }
    Some(match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            fault(format!(
                "{summary}: somebody before the registry answers, who does not reach it, or waits in vain"
            ))
            .server(
                "does the registry run, and is it where the proxy looks for it (`proxy_pass`, `ProxyPass`)? \
                 With TLS in the registry it is `proxy_pass https://…`. A timeout: \
                 `proxy_read_timeout 900;`",
            )
        }
        StatusCode::FORBIDDEN => fault(format!("{summary}: whoever asks from here is not let in")).server(
            "`allow`, `Require ip` or the registry's `http.allow` decide by address: is this one among them?",
        ),
        _ if status.is_redirection() => fault(format!(
            "{summary}: `GET {path}` is redirected to `{}`, where clients do not find a registry",
            answer.header(header::LOCATION).unwrap_or_default()
        ))
        .server("serve `/v2/` where it is asked for, without a detour over a page for logging in"),
        _ => fault(format!(
            "`GET {path}` is answered with {summary}, which is no registry"
        ))
        .client("is it the right host and port? In the name of an image the port is part of the host")
        .server(
            "everything below `/v2/` has to reach the registry, unchanged: nginx: \
             `location /v2/ { proxy_pass http://registry:5000; }`, without a path behind the port",
        ),
    })
}

fn api_version(answer: &Answer) -> Finding {
    let values = answer.values(API_VERSION);
    match values.as_slice() {
        [] => Finding::warning(
            Check::ApiVersion,
            format!(
                "`Docker-Distribution-Api-Version` is missing from the answer of {}: old clients take it \
                 for no registry",
                answer.speaker()
            ),
        )
        .server("nginx: `add_header Docker-Distribution-Api-Version registry/2.0 always;`"),
        // Proxies add it to the one that is there.
        all if all.iter().all(|value| value == "registry/2.0") => {
            Finding::ok(Check::ApiVersion, "registry/2.0")
        }
        _ => Finding::warning(
            Check::ApiVersion,
            format!(
                "`Docker-Distribution-Api-Version` is {:?}",
                super::client::shown(&values.join(", "))
            ),
        )
        .server("it has to be `registry/2.0`"),
    }
}

/// What a stranger is asked for, if it can be answered.
fn challenge(answer: &Answer, found: &mut Vec<Finding>) -> Option<Challenge> {
    if answer.status != StatusCode::UNAUTHORIZED {
        return None;
    }
    let asked = answer.values(header::WWW_AUTHENTICATE);
    let by = answer.speaker();
    let Some((bearer, rest)) = asked.iter().find_map(|value| {
        let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Some((false, rest)),
            "bearer" => Some((true, rest)),
            _ => None,
        }
    }) else {
        let seen = if asked.is_empty() {
            format!("401 by {by} without `WWW-Authenticate`: clients do not know what to log in with")
        } else {
            let asked = super::client::shown(&asked.join(", "));
            format!("{by} asks for `{asked}`; clients know Basic and Bearer")
        };
        found.push(Finding::fault(Check::Challenge, seen).server(
            "pass `WWW-Authenticate` on as the registry sends it: nginx: no `proxy_hide_header` for it",
        ));
        return None;
    };
    let realm = parameter(rest, "realm");
    let scheme = if bearer { "Bearer" } else { "Basic" };
    let asks = format!(
        "{by} asks for {scheme}, realm {:?}",
        realm.as_deref().map(super::client::shown).unwrap_or_default()
    );
    let finding = match &realm {
        None => Finding::warning(
            Check::Challenge,
            format!("{by} asks for {scheme} without a realm; some clients want one"),
        )
        .server("nginx: `auth_basic \"Registry\";`; the registry: `auth.htpasswd.realm`"),
        Some(realm) if bearer && !is_url(realm) => Finding::fault(
            Check::Challenge,
            format!("{asks}, which has to be the URL of a token service"),
        )
        .server("`auth.token.realm` has the URL, as clients reach it"),
        Some(_) if asked.len() > 1 => Finding::warning(
            Check::Challenge,
            format!(
                "{asks}, and there are {} such lines: clients differ in which one they answer",
                asked.len()
            ),
        )
        .server("one login: either the proxy asks, or the registry"),
        Some(_) => Finding::ok(Check::Challenge, asks),
    };
    found.push(finding);
    Some(Challenge { bearer, realm })
}

fn is_url(text: &str) -> bool {
    text.parse::<Uri>()
        .is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")))
}

/// A parameter of a challenge, in quotes or not.
fn parameter(text: &str, name: &str) -> Option<String> {
    let start = text.to_ascii_lowercase().find(&format!("{name}="))? + name.len() + 1;
    let value = text.get(start..)?;
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split(',').next(),
    };
    value.map(|value| value.trim().to_owned())
}

/// Why a password is not sent.
pub(super) fn unsafe_to_tell(door: &Door, insecure: bool) -> Option<&'static str> {
    match (door.origin.scheme, door.peers) {
        _ if insecure => None,
        (Scheme::Https, Peers::Known) => None,
        (Scheme::Http, _) if Target::is_loopback(&door.origin) => None,
        (Scheme::Https, Peers::Anybody) => Some(
            "the password is not sent to a server whose certificate clients refuse; --ca FILE or --insecure",
        ),
        (Scheme::Http, _) => Some("the password is not sent over plain HTTP; --insecure sends it"),
    }
}

impl Base {
    /// Logs in. What has to be sent with each question, if that helps.
    pub(super) async fn log_in(
        &self,
        client: &Client,
        door: &Door,
        credentials: &Credentials,
        found: &mut Vec<Finding>,
    ) -> Option<HeaderValue> {
        if self.challenge.as_ref().is_some_and(|challenge| challenge.bearer) {
            found.push(Finding::skipped(
                Check::Login,
                "the registry wants a token, and this command logs in by name and password only",
            ));
            return None;
        }
        let authorization = credentials.basic();
        let question = Question::get(door.path("/v2/")).login(Some(&authorization));
        let user = credentials.user();
        let answer = match client.ask(door, question).await {
            Ok(answer) => answer,
            Err(failure) => {
                found.push(Finding::unanswered(Check::Login, &failure, failure.to_string()));
                return None;
            }
        };
        let finding = if answer.status.is_success() {
            Finding::ok(Check::Login, format!("as {user}"))
        } else if answer.status == StatusCode::UNAUTHORIZED && !self.is_same_asker(&answer) {
            two_askers(&self.answer, &answer)
        } else if answer.status == StatusCode::UNAUTHORIZED {
            self.refused(&answer, user)
        } else {
            Finding::fault(Check::Login, format!("as {user}: {}", answer.summary()))
                .server("the log of the registry says why")
        };
        let counts = finding.verdict == super::finding::Verdict::Ok;
        found.push(finding);
        counts.then_some(authorization)
    }

    /// Whether an answer to a login is by who asked for it: a proxy and a registry differ in words, or in
    /// realm.
    fn is_same_asker(&self, answer: &Answer) -> bool {
        let realm = |answer: &Answer| {
            let asked = answer.values(header::WWW_AUTHENTICATE);
            asked.iter().find_map(|value| parameter(value, "realm"))
        };
        self.answer.status != StatusCode::UNAUTHORIZED
            || (self.answer.is_of_registry() == answer.is_of_registry()
                && self
                    .challenge
                    .as_ref()
                    .and_then(|challenge| challenge.realm.clone())
                    == realm(answer))
    }

    fn refused(&self, answer: &Answer, user: &str) -> Finding {
        let by = answer.speaker();
        let finding = Finding::fault(
            Check::Login,
            format!("{by} does not know {user} by that password"),
        )
        .client("is it the right name and password?");
        if answer.is_of_registry() {
            finding.server(
                "`registry htpasswd -v FILE USER` tries a password; registry:2 verifies bcrypt only \
                 (`htpasswd -B`)",
            )
        } else {
            finding.server(format!(
                "{by} asks, not the registry: it is its password file that counts. If the registry has one, \
                 too, both have to be the same file, since one `Authorization` serves both"
            ))
        }
    }
}

/// The first lets the login pass, and the second refuses it.
fn two_askers(first: &Answer, second: &Answer) -> Finding {
    let realm = |answer: &Answer| answer.header(header::WWW_AUTHENTICATE).unwrap_or_default();
    Finding::fault(
        Check::Login,
        format!(
            "there are two password files. {} (`{}`) takes the login and passes it on; then {} (`{}`) \
             refuses it: both read the same `Authorization`",
            first.speaker(),
            realm(first),
            second.speaker(),
            realm(second),
        ),
    )
    .client("only a user with the same password in both files gets through")
    .server(
        "let one of them ask: take `auth_basic` (Apache: `AuthType`) out of the proxy, as the registry asks \
         itself; or take `auth.htpasswd` out of the registry, and let nobody reach it but the proxy; or \
         give both the same file",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_read_in_quotes_or_without() {
        for (text, realm) in [
            (r#"Basic realm="a, b""#, Some("a, b")),
            ("Basic realm=Registry", Some("Registry")),
            (r#"Bearer Realm="https://t/",service="s""#, Some("https://t/")),
            ("Basic", None),
        ] {
            assert_eq!(parameter(text, "realm").as_deref(), realm, "{text}");
        }
    }
}
