//! Checks of the address: a server accepts connections, it speaks TLS, and port 80 is in order.

use super::origin::{Origin, Scheme};
use super::{
    client::{Answer, Client, Door, Failure, Peers, Question},
    finding::{Check, Finding},
    target::Target,
};
use http::{StatusCode, Uri, header};
use std::io::ErrorKind;
use tokio_rustls::rustls::{AlertDescription, DEFAULT_VERSIONS};

/// Service on port 80 for clients that use `http://` by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port80 {
    /// Redirects to https.
    Redirects,
    /// Serves the registry, too.
    Serves,
    /// Nothing, or another service.
    Other,
}

/// Finds the door of the registry; `None` if nothing answers.
pub(super) async fn find(client: &Client, target: &Target, found: &mut Vec<Finding>) -> Option<Door> {
    if target.origin.scheme == Scheme::Http {
        plain(client, target, found).await
    } else {
        encrypted(client, target, found).await
    }
}

async fn encrypted(client: &Client, target: &Target, found: &mut Vec<Finding>) -> Option<Door> {
    let Target { origin, .. } = target;
    match client.handshake(origin, DEFAULT_VERSIONS).await {
        Ok(_) => {
            found.push(Finding::ok(Check::Address, format!("{origin} answers, with TLS")));
            Some(door(target, origin.clone()))
        }
        Err(failure @ Failure::Unreachable(_)) if origin.has_default_port() => {
            only_port_80(client, target, &failure, found).await
        }
        Err(failure @ (Failure::Tls(_) | Failure::Silent(_))) => {
            not_tls(client, target, &failure, found).await
        }
        Err(failure) => {
            found.push(unreachable(origin, &failure));
            None
        }
    }
}

/// Examines port 80 because nothing accepts connections on 443.
async fn only_port_80(
    client: &Client,
    target: &Target,
    failure: &Failure,
    found: &mut Vec<Finding>,
) -> Option<Door> {
    let origin = &target.origin;
    let plain = door(target, origin.at(Scheme::Http, 80));
    let Ok(answer) = client.ask(&plain, Question::get(plain.path("/v2/"))).await else {
        found.push(unreachable(origin, failure));
        return None;
    };
    let seen = format!(
        "only port 80 answers ({}); nothing accepts connections on 443, and clients use https by default",
        answer.summary()
    );
    found.push(no_https(Finding::fault(Check::Address, seen), origin));
    // Whatever it redirects to is not there.
    (!answer.status.is_redirection()).then_some(plain)
}

/// Examines a server that accepts connections, but with which no TLS handshake succeeds.
async fn not_tls(
    client: &Client,
    target: &Target,
    failure: &Failure,
    found: &mut Vec<Finding>,
) -> Option<Door> {
    let origin = &target.origin;
    let plain = door(target, origin.at(Scheme::Http, origin.port()));
    let answer = client.ask(&plain, Question::get(plain.path("/v2/"))).await;
    match answer {
        // Many answer 400 to plain HTTP on a port for TLS: there TLS itself is broken.
        Ok(answer) if answer.status != StatusCode::BAD_REQUEST => {
            if target.scheme_given || !Target::is_loopback(origin) {
                let seen = format!(
                    "{} speaks plain HTTP on the port of {origin}: clients say \
                     `server gave HTTP response to HTTPS client`",
                    answer.speaker()
                );
                found.push(no_https(Finding::fault(Check::Address, seen), origin));
            } else {
                found.push(on_loopback(&plain.origin));
            }
            Some(plain)
        }
        _ => {
            found.push(broken_tls(origin, failure));
            None
        }
    }
}

fn broken_tls(origin: &Origin, failure: &Failure) -> Finding {
    if failure.alert() == Some(AlertDescription::ProtocolVersion) {
        let seen = format!("{origin} supports neither TLS 1.2 nor 1.3, and clients support nothing older");
        return Finding::fault(Check::TlsVersions, seen)
            .server("nginx: `ssl_protocols TLSv1.2 TLSv1.3;` Apache: `SSLProtocol -all +TLSv1.2 +TLSv1.3`");
    }
    let seen = format!("{origin} accepts connections, but neither TLS nor HTTP works: {failure}");
    Finding::fault(Check::Address, seen)
        .client("is the port right? `openssl s_client -connect HOST:PORT` shows more")
        .server(
            "the certificate and its key have to exist and match: see the log of the server that terminates TLS",
        )
}

async fn plain(client: &Client, target: &Target, found: &mut Vec<Finding>) -> Option<Door> {
    let origin = &target.origin;
    let plain = door(target, origin.clone());
    let answer = client.ask(&plain, Question::get(plain.path("/v2/"))).await;
    let speaks_tls = match &answer {
        Ok(answer) => answer.status == StatusCode::BAD_REQUEST,
        Err(failure) => matches!(failure, Failure::NoAnswer(_) | Failure::Silent(_)),
    };
    let encrypted = origin.at(Scheme::Https, origin.port());
    if speaks_tls && client.handshake(&encrypted, DEFAULT_VERSIONS).await.is_ok() {
        let seen = format!("{origin} speaks TLS, but the URL is plain HTTP");
        found.push(
            Finding::fault(Check::Address, seen)
                .client(format!(
                    "use {encrypted}; in the name of an image, omit the scheme"
                ))
                .server("if a proxy uses this address: `proxy_pass https://…`"),
        );
        return Some(door(target, encrypted));
    }
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            found.push(unreachable(origin, &failure));
            return None;
        }
    };
    if let Some(onwards) = redirected(origin, &answer) {
        found.push(Finding::ok(
            Check::Address,
            format!("{origin} redirects to {onwards}, which is examined"),
        ));
        let onwards = Target {
            origin: onwards,
            ..target.clone()
        };
        return Box::pin(self::encrypted(client, &onwards, found)).await;
    }
    if Target::is_loopback(origin) {
        found.push(on_loopback(origin));
        return Some(plain);
    }
    let secure = origin.at(
        Scheme::Https,
        if origin.has_default_port() {
            443
        } else {
            origin.port()
        },
    );
    let finding = if secure.has_default_port() && client.reaches(&secure).await.is_ok() {
        let seen =
            format!("{origin} answers without TLS, so passwords are sent unencrypted; {secure} works, too");
        Finding::warning(Check::Address, seen)
    } else {
        let seen = format!("{origin} answers without TLS, and https does not work: clients use https");
        Finding::fault(Check::Address, seen)
    };
    found.push(no_https(finding, origin));
    Some(plain)
}

/// Examines port 80 beside a registry on 443.
pub(super) async fn port_80(client: &Client, door: &Door, found: &mut Vec<Finding>) -> Port80 {
    let origin = &door.origin;
    if origin.scheme != Scheme::Https || !origin.has_default_port() {
        return Port80::Other;
    }
    let plain = Door {
        origin: origin.at(Scheme::Http, 80),
        prefix: door.prefix.clone(),
        peers: Peers::Anybody,
    };
    let answer = match client.ask(&plain, Question::get(plain.path("/v2/"))).await {
        Ok(answer) => answer,
        Err(Failure::OutOfTime) => return Port80::Other,
        Err(Failure::Unreachable(_)) => {
            found.push(Finding::ok(Check::Port80, "closed"));
            return Port80::Other;
        }
        Err(failure) => {
            found.push(Finding::ok(Check::Port80, format!("no HTTP: {failure}")));
            return Port80::Other;
        }
    };
    let location = answer.header(header::LOCATION).unwrap_or_default();
    if answer.status.is_redirection() {
        let back = redirected(&plain.origin, &answer).as_ref() == Some(origin)
            && location.ends_with(&plain.path("/v2/"));
        found.push(if back {
            let seen = format!("redirects to {origin} ({})", answer.status.as_u16());
            Finding::ok(Check::Port80, seen)
        } else {
            let seen = format!("redirects to `{location}`, which is not the same path over https");
            Finding::warning(Check::Port80, seen)
                .server(format!("nginx: `return 308 {}$request_uri;`", origin))
        });
        return Port80::Redirects;
    }
    if answer.is_of_registry() || answer.status == StatusCode::UNAUTHORIZED {
        let seen = format!(
            "serves the registry without TLS, too ({}): clients that use it send passwords unencrypted",
            answer.summary()
        );
        found.push(
            Finding::warning(Check::Port80, seen)
                .client("change passwords that were sent this way")
                .server(format!(
                    "nginx: `server {{ listen 80; return 308 {origin}$request_uri; }}`; without a proxy: \
                     `http.redirect.addr: :80`"
                )),
        );
        return Port80::Serves;
    }
    found.push(Finding::ok(
        Check::Port80,
        format!("another service ({})", answer.summary()),
    ));
    Port80::Other
}

/// Returns the target of a redirect, if it is the same host over https.
fn redirected(from: &Origin, answer: &Answer) -> Option<Origin> {
    if !answer.status.is_redirection() {
        return None;
    }
    let location: Uri = answer.header(header::LOCATION)?.parse().ok()?;
    let to = Origin::of(&location)?;
    (to.scheme == Scheme::Https && to.host() == from.host()).then_some(to)
}

fn door(target: &Target, origin: Origin) -> Door {
    Door {
        origin,
        prefix: target.prefix.clone(),
        peers: Peers::Anybody,
    }
}

fn on_loopback(origin: &Origin) -> Finding {
    Finding::ok(
        Check::Address,
        format!("{origin} answers without TLS, which is safe on this machine itself"),
    )
}

fn no_https(finding: Finding, origin: &Origin) -> Finding {
    let name = origin.authority();
    finding
        .client(format!(
            "as a temporary solution in a network that you trust: `\"insecure-registries\": [\"{name}\"]` in \
             /etc/docker/daemon.json; podman: `insecure = true` below `[[registry]]` with \
             `location = \"{name}\"` in /etc/containers/registries.conf"
        ))
        .server(
            "HTTPS: `http.tls.certificate` and `http.tls.key`, or `http.tls.letsencrypt`; with a proxy, \
             `listen 443 ssl;` and its certificate there",
        )
}

fn unreachable(origin: &Origin, failure: &Failure) -> Finding {
    let seen = format!("no registry can be reached at {origin}: {failure}");
    let finding = Finding::unanswered(Check::Address, failure, seen);
    match failure {
        Failure::NoAnswer(_) | Failure::Silent(_) => finding
            .client("is the port right? A server accepts connections, but does not answer in HTTP")
            .server("does the registry listen there? See `ss -ltnp`"),
        Failure::Unresolved(_) => finding
            .client("is the name right, and can this machine resolve it?")
            .server("add an A or AAAA record for this name"),
        Failure::Unreachable(error)
            if error.kind() == ErrorKind::ConnectionRefused && Target::is_loopback(origin) =>
        {
            finding
                .client("is the port right? Nothing listens on it on this machine")
                .server("does the registry run, and where does it listen? See `ss -ltnp`")
        }
        _ => finding
            .client("is there a firewall or a VPN between this machine and the server?")
            .server(
                "does the server run, does it listen on other addresses than loopback, and is the port published (`docker ps`) and open?",
            ),
    }
}
