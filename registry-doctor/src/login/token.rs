//! Fetches a token from the service that a registry names, as `docker login` does.

use super::attempt::Login;
use crate::{
    challenge::Challenge,
    client::{Door, Failure, Peers, Question, shown},
    finding::{Check, Finding},
    origin::Origin,
};
use http::{HeaderValue, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Fetches a token for pulling and pushing, as the value of `Authorization`.
///
/// # Errors
///
/// Finding that explains why there is no token.
pub(super) async fn fetch(login: &Login<'_>, challenge: &Challenge) -> Result<HeaderValue, Finding> {
    let realm = challenge.realm.as_deref().unwrap_or_default();
    let url: Option<Uri> = realm.parse().ok();
    let Some((url, origin)) = url.and_then(|url| Origin::of(&url).map(|origin| (url, origin))) else {
        return Err(Finding::skipped(Check::Login, "the realm names no token service"));
    };
    let service = Door {
        origin,
        prefix: String::new(),
        peers: if login.insecure {
            Peers::Anybody
        } else {
            Peers::Known
        },
    };
    if let Some(why) = login.unsafe_to_tell(&service) {
        return Err(Finding::skipped(Check::Login, why));
    }
    let question =
        Question::get(target(&url, challenge, login.repository)).login(Some(&login.credentials.basic()));
    let (realm, user) = (shown(realm), login.credentials.user());
    let answer = login.client.ask(&service, question).await.map_err(|failure| {
        let seen = format!("the token service at {realm} has no answer: {failure}");
        let finding = Finding::unanswered(Check::Login, &failure, seen);
        match failure {
            Failure::Tls(_) => finding.client("add the certificate of its authority to --ca FILE"),
            _ => finding.server("clients must be able to reach this URL: `auth.token.realm`"),
        }
    })?;
    let token = answer.json().filter(|_| answer.status.is_success());
    let token = token.as_ref().and_then(|answer| {
        let token = answer.get("token").or_else(|| answer.get("access_token"))?;
        HeaderValue::try_from(format!("Bearer {}", token.as_str()?)).ok()
    });
    match token {
        Some(mut token) => {
            token.set_sensitive(true);
            Ok(token)
        }
        None => Err(Finding::fault(
            Check::Login,
            format!("{realm} gives no token to {user}: {}", answer.summary()),
        )
        .client("are name and password right?")),
    }
}

/// Returns the path and query for the service: the realm's own query, with service and scope of the token.
fn target(url: &Uri, challenge: &Challenge, repository: &str) -> String {
    let mut target = url
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let scope = format!("repository:{repository}:pull,push");
    let asked = [("service", challenge.service.as_deref()), ("scope", Some(&scope))];
    for (name, value) in asked {
        if let Some(value) = value {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str(&format!(
                "{name}={}",
                utf8_percent_encode(value, NON_ALPHANUMERIC)
            ));
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_for_what_the_token_is_to_be_for() {
        let challenge = |service: Option<&str>| Challenge {
            bearer: true,
            realm: None,
            service: service.map(str::to_owned),
        };
        let scope = "scope=repository%3Ateam%2Fapp%3Apull%2Cpush";
        for (realm, service, asked) in [
            (
                "https://a.example/token",
                Some("r&d"),
                format!("/token?service=r%26d&{scope}"),
            ),
            ("https://a.example/token?x=1", None, format!("/token?x=1&{scope}")),
            ("https://a.example", None, format!("/?{scope}")),
        ] {
            let url = realm.parse().unwrap();
            assert_eq!(target(&url, &challenge(service), "team/app"), asked, "{realm}");
        }
    }
}
