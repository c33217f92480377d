//! Checks of access without a login, at the given port and at other ports of the same host.

use super::origin::{Origin, Scheme};
use super::{
    client::{Answer, Client, Door, Failure, Peers, Question},
    finding::{Check, Finding},
    target::Target,
};
use http::{Method, StatusCode, header};

/// Default port of registries.
const USUAL_PORT: u16 = 5000;

/// Examines listing and pushing without a login.
pub(super) async fn examine(
    client: &Client,
    door: &Door,
    repository: &str,
    open: bool,
    found: &mut Vec<Finding>,
) {
    let listed = client
        .ask(door, Question::get(door.path("/v2/_catalog?n=100")))
        .await;
    if let Ok(answer) = listed {
        found.push(listing(&answer));
    }
    match push(client, door, repository).await {
        Some(Ok(())) => {
            let seen = if open {
                "everyone who can reach this address can push without a login"
            } else {
                "`/v2/` requires a login, but pushing does not: everyone can push"
            };
            // Whoever tries a registry out does it on their own machine.
            found.push(if Target::is_loopback(&door.origin) && open {
                Finding::warning(Check::AnonymousPush, seen).server(ASK)
            } else {
                Finding::fault(Check::AnonymousPush, seen).server(ASK)
            });
        }
        Some(Err(answer)) => found.push(Finding::ok(
            Check::AnonymousPush,
            format!("refused ({})", answer.summary()),
        )),
        None => {}
    }
}

const ASK: &str = "require a login: `registry serve --htpasswd FILE`, or `auth.htpasswd` in the configuration; to limit what users may do, `registry serve --access RULES.yml`";

/// Judges the answer to a listing of the repositories without a login. With access rules, a registry lists those
/// repositories that may be pulled, which can be none.
fn listing(answer: &Answer) -> Finding {
    let json = answer.json().filter(|_| answer.status.is_success());
    let names = json.and_then(|json| json.get("repositories")?.as_array().map(Vec::len));
    let seen = match names {
        None => return Finding::ok(Check::AnonymousCatalog, format!("refused ({})", answer.summary())),
        Some(0) => {
            return Finding::ok(
                Check::AnonymousCatalog,
                "clients without a login see no repositories",
            );
        }
        Some(names) if answer.headers.contains_key(header::LINK) => {
            format!("clients without a login see the names of more than {names} repositories")
        }
        Some(1) => "clients without a login see the name of 1 repository".to_owned(),
        Some(names) => format!("clients without a login see the names of {names} repositories"),
    };
    Finding::warning(Check::AnonymousCatalog, seen).server(ASK)
}

/// Opens an upload session without a login and cancels it. Returns a refusal as `Err`, and `None` if there is no
/// answer.
async fn push(client: &Client, door: &Door, repository: &str) -> Option<Result<(), Answer>> {
    let path = door.path(&format!("/v2/{repository}/blobs/uploads/"));
    let answer = client.ask(door, Question::new(Method::POST, path)).await.ok()?;
    if answer.status != StatusCode::ACCEPTED {
        return Some(Err(answer));
    }
    if let Some(location) = answer.header_whole(header::LOCATION) {
        let target = super::location::Judged::of(&location, door).target;
        // That nothing is left behind is asked for, and not promised.
        let _ = client
            .tidying()
            .ask(door, Question::new(Method::DELETE, target))
            .await;
    }
    Some(Ok(()))
}

/// Looks for the registry at other ports of the same host: those in `also`, and the default port of registries.
pub(super) async fn other_doors(
    client: &Client,
    door: &Door,
    also: &[u16],
    repository: &str,
    open: bool,
    found: &mut Vec<Finding>,
) {
    let mut ports = vec![door.origin.port()];
    for port in also.iter().chain([&USUAL_PORT]) {
        if !ports.contains(port) {
            ports.push(*port);
        }
    }
    for port in ports.into_iter().skip(1) {
        found.push(
            other_door(
                client,
                &door.origin,
                port,
                repository,
                Known {
                    open,
                    told: also.contains(&port),
                },
            )
            .await,
        );
    }
}

/// Facts known before a port is tried.
#[derive(Clone, Copy)]
struct Known {
    /// True if the main door needs no login, either.
    open: bool,
    /// True if the user named this port.
    told: bool,
}

async fn other_door(client: &Client, main: &Origin, port: u16, repository: &str, known: Known) -> Finding {
    let mut last = None;
    for scheme in [Scheme::Http, Scheme::Https] {
        let door = Door {
            origin: main.at(scheme, port),
            prefix: String::new(),
            peers: Peers::Anybody,
        };
        match client.ask(&door, Question::get("/v2/")).await {
            Ok(answer) if answer.is_of_registry() || answer.status == StatusCode::UNAUTHORIZED => {
                return judged(client, &door, &answer, repository, known).await;
            }
            Ok(answer) => last = Some(format!("port {port}: no registry ({})", answer.summary())),
            Err(Failure::Unreachable(_)) => {
                return Finding::ok(Check::OtherDoor, format!("port {port} is closed"));
            }
            Err(failure) => last = last.or_else(|| Some(format!("port {port}: {failure}"))),
        }
    }
    Finding::ok(Check::OtherDoor, last.unwrap_or_default())
}

async fn judged(client: &Client, door: &Door, answer: &Answer, repository: &str, known: Known) -> Finding {
    let origin = &door.origin;
    let close = format!(
        "publish the port on loopback only, for the proxy: `-p 127.0.0.1:{0}:5000` instead of `-p {0}:5000`. In a network of containers, publish no port. Without a container: `http.addr: 127.0.0.1:{0}`",
        origin.port()
    );
    if !answer.status.is_success() {
        let seen = format!(
            "there is a registry at {origin}, too, which requires a login ({})",
            answer.summary()
        );
        return match origin.scheme {
            Scheme::Https => Finding::ok(Check::OtherDoor, seen),
            Scheme::Http if Target::is_loopback(origin) => Finding::ok(Check::OtherDoor, seen),
            Scheme::Http => {
                Finding::warning(Check::OtherDoor, format!("{seen}, over plain HTTP")).server(close)
            }
        };
    }
    let push = match push(client, door, repository).await {
        Some(Ok(())) => "pull and push",
        _ => "pull",
    };
    if Target::is_loopback(origin) && !known.told {
        // Loopback belongs to a whole machine, on which there may be more registries than one.
        let seen = format!(
            "there is a registry at {origin}, where clients can {push} without a login. It may be this registry or another one, which cannot be determined from here. Check from another machine that the port is closed"
        );
        let close =
            format!("if the port is closed there, or it is another registry, nothing; otherwise {close}");
        return Finding::warning(Check::OtherDoor, seen).server(close);
    }
    if known.open {
        let seen = format!("there is a registry at {origin}, too, where clients can {push} without a login");
        return Finding::warning(Check::OtherDoor, seen).server(close);
    }
    let seen = format!("{origin} bypasses the login: everyone who can reach it can {push}");
    Finding::fault(Check::OtherDoor, seen).server(close)
}
