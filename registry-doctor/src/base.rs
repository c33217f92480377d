//! Checks of `/v2/`: a registry is there, and its answer to a client without a login.

use super::{
    challenge::{self, Challenge},
    client::{API_VERSION, Answer, Client, Door, Question},
    finding::{Check, Finding},
};
use http::{StatusCode, Version, header};
use tokio_rustls::rustls::AlertDescription;

/// Answer of `/v2/` to a client without a login.
#[derive(Debug)]
pub(super) struct Base {
    /// True if no login is needed.
    pub(super) open: bool,
    pub(super) answer: Answer,
    /// Challenge for a login, if there is one.
    pub(super) challenge: Option<Challenge>,
}

/// Requests `/v2/` without a login. `None` if there is no registry.
pub(super) async fn examine(client: &Client, door: &Door, found: &mut Vec<Finding>) -> Option<Base> {
    let path = door.path("/v2/");
    let answer = match client.ask(door, Question::get(&path)).await {
        Ok(answer) => answer,
        Err(failure) if failure.alert() == Some(AlertDescription::CertificateRequired) => {
            let why = "the server requires a client certificate, which this command cannot send";
            found.push(Finding::skipped(Check::Base, why));
            return None;
        }
        Err(failure) => {
            found.push(
                Finding::unanswered(
                    Check::Base,
                    &failure,
                    format!("`GET {path}` has no answer: {failure}"),
                )
                .server("can the proxy reach the registry? See the error log of the proxy"),
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
                "the answer is HTTP/1.0: each request needs a new connection, and layers cannot be sent in chunks",
            )
            .server("use a newer proxy, or enable HTTP/1.1 in it"),
        );
    }
    found.push(api_version(&answer));
    let challenge = challenge::examine(&answer, found);
    Some(Base {
        open: answer.status.is_success(),
        answer,
        challenge,
    })
}

/// Returns a finding if the answer is not that of a registry to `/v2/`.
fn no_registry(answer: &Answer, path: &str) -> Option<Finding> {
    let (status, summary) = (answer.status, answer.summary());
    let fault = |seen: String| Finding::fault(Check::Base, seen);
    if status == StatusCode::UNAUTHORIZED || (status.is_success() && answer.is_of_registry()) {
        return None;
    }
    Some(match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            fault(format!(
                "{summary}: a proxy answers, but cannot reach the registry or gets no answer from it"
            ))
            .server(
                "does the registry run, and is the address in the proxy right (`proxy_pass`, `ProxyPass`)? If the registry uses TLS: `proxy_pass https://…`. After a timeout: `proxy_read_timeout 900;`",
            )
        }
        StatusCode::FORBIDDEN => fault(format!("{summary}: this machine is not allowed to connect")).server(
            "add this machine's address to `allow`, `Require ip` or the registry's `http.allow`",
        ),
        _ if status.is_redirection() => fault(format!(
            "{summary}: `GET {path}` is redirected to `{}`, where clients do not find a registry",
            answer.header(header::LOCATION).unwrap_or_default()
        ))
        .server("serve `/v2/` without a redirect, for example to a login page"),
        _ => fault(format!(
            "`GET {path}` is answered with {summary}, which is no registry"
        ))
        .client("are host and port right? In the name of an image, the port follows the host")
        .server(
            "pass everything below `/v2/` to the registry unchanged. nginx: `location /v2/ { proxy_pass http://registry:5000; }`, without a path after the port",
        ),
    })
}

fn api_version(answer: &Answer) -> Finding {
    let values = answer.values(API_VERSION);
    match values.as_slice() {
        [] => Finding::warning(
            Check::ApiVersion,
            format!(
                "`Docker-Distribution-Api-Version` is missing in the answer of {}: old clients do not recognise a registry",
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
        .server("it must be `registry/2.0`"),
    }
}
