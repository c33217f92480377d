//! Finds the maximum size of a body without sending one: large bodies are announced, and the answer is examined.

use super::{
    client::{Announced, Answer, Patience},
    finding::{Check, Finding},
    login::Standing,
    trial::Trial,
};
use http::{Method, StatusCode};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Path of a session that no registry has.
const NOWHERE: &str = "blobs/uploads/00000000-0000-4000-8000-000000000000";

/// Sizes just beyond common limits: 1 GiB, that of Cloudflare, the default of nginx.
const SIZES: [u64; 3] = [1024 * MIB + 1, 100 * MIB + 1, MIB + 1];

/// Maximum number of steps that narrow down a limit.
const STEPS: u32 = 12;

/// Announces bodies of the sizes at which uploads typically fail, the largest first: if it passes, no other is needed.
///
/// Without a session, announces them to the path of a session that does not exist: a proxy refuses them there, too.
pub(super) async fn examine(trial: &Trial<'_>, sessions: bool) -> Finding {
    let mut how = How {
        sessions,
        patience: Patience::All,
    };
    let mut refused = None;
    for size in SIZES {
        let passed = match told(trial, how, size).await {
            Told::TooLarge(answer, patience) => {
                how = How {
                    // A session of its own is for a registry, which may end it; a proxy looks at the size
                    // alone.
                    sessions: sessions && answer.is_of_registry(),
                    patience,
                };
                refused = Some((size, answer));
                continue;
            }
            Told::Passed(passed) => passed,
            Told::Unknown(why) => {
                return Finding::skipped(
                    Check::BodyLimit,
                    format!(
                        "a body of {} was announced, and {why}: the limit cannot be determined",
                        amount(size)
                    ),
                );
            }
        };
        return match (refused, passed) {
            (Some((larger, answer)), _) => refusal(trial, how, size, larger, &answer).await,
            (None, Passed::Answered(answer)) if !sessions => Finding::skipped(
                Check::BodyLimit,
                format!(
                    "{}{} is answered before the size is checked, except by nginx",
                    who(trial, &answer),
                    answer.summary()
                ),
            ),
            (None, passed) => Finding::ok(
                Check::BodyLimit,
                format!(
                    "a body of more than {} was announced and not refused: {}",
                    amount(size),
                    passed.proof()
                ),
            ),
        };
    }
    match refused {
        Some((size, answer)) => refusal(trial, how, 0, size, &answer).await,
        None => Finding::skipped(Check::BodyLimit, "no size was announced"),
    }
}

/// Returns the beginning of a sentence that names the refused user, if the refusal is due to the user.
fn who(trial: &Trial<'_>, answer: &Answer) -> String {
    match trial.standing {
        Standing::User { name, .. } if answer.status == StatusCode::FORBIDDEN => {
            format!("{name} may not push to {}: ", trial.repository)
        }
        Standing::User { .. } => String::new(),
        _ => "without a login, ".to_owned(),
    }
}

/// Manner in which a body is announced.
#[derive(Clone, Copy)]
struct How {
    /// True to announce to a session of its own, false to announce to the path of a missing session.
    sessions: bool,
    patience: Patience,
}

/// Answer to the announcement of a body.
enum Told {
    /// 413, with the patience that was needed to receive it.
    TooLarge(Answer, Patience),
    Passed(Passed),
    Unknown(String),
}

enum Passed {
    /// Another answer arrived before the body.
    Answered(Answer),
    /// The server asks for the body.
    Welcome,
}

impl Passed {
    fn proof(&self) -> String {
        match self {
            Self::Answered(answer) => format!("{} is answered without the body", answer.summary()),
            Self::Welcome => "the server answers `100 Continue`. If a proxy buffers whole bodies, only a real upload (`--send SIZE`) shows a smaller limit behind it"
                .to_owned(),
        }
    }
}

/// Announces a body of this size. Each one has its own session, as a registry may end a session after a refusal.
async fn told(trial: &Trial<'_>, how: How, size: u64) -> Told {
    let session = if how.sessions { trial.session().await } else { None };
    let nowhere = trial.path(NOWHERE);
    let question = trial.question(Method::PATCH, session.as_deref().unwrap_or(&nowhere));
    let announced = trial
        .client
        .announce(trial.door, question, size, how.patience)
        .await;
    if let Some(session) = session {
        // It may be busy still with what never came; then the registry ends it when nobody goes on.
        let question = trial.question(Method::DELETE, &session);
        let _ = trial.client.tidying().ask(trial.door, question).await;
    }
    match announced {
        Ok(Announced::Answer(answer)) if answer.status == StatusCode::PAYLOAD_TOO_LARGE => {
            Told::TooLarge(answer, Patience::First)
        }
        Ok(Announced::AnswerFromBehind(answer)) if answer.status == StatusCode::PAYLOAD_TOO_LARGE => {
            Told::TooLarge(answer, Patience::All)
        }
        Ok(Announced::Answer(answer) | Announced::AnswerFromBehind(answer)) => {
            Told::Passed(Passed::Answered(answer))
        }
        Ok(Announced::Welcome) => Told::Passed(Passed::Welcome),
        Ok(Announced::Silence) => Told::Unknown("there is no answer before the body".to_owned()),
        Ok(Announced::Closed(failure)) => Told::Unknown(format!("the connection was closed ({failure})")),
        Err(failure) => Told::Unknown(failure.to_string()),
    }
}

/// Reports a limit between an accepted and a refused size, narrowed down to a mebibyte.
async fn refusal(trial: &Trial<'_>, how: How, taken: u64, refused: u64, answer: &Answer) -> Finding {
    let (mut lower, mut upper) = (taken, refused);
    for _ in 0..STEPS {
        let middle = (lower + (upper - lower) / 2) / MIB * MIB + 1;
        if middle <= lower || middle >= upper || !trial.client.has_time() {
            break;
        }
        match told(trial, how, middle).await {
            Told::TooLarge(..) => upper = middle,
            _ => lower = middle,
        }
    }
    // What is refused is one byte more than a round number.
    let seen = format!(
        "bodies of more than {} are refused before they are sent",
        amount(upper - 1)
    );
    too_large(Check::BodyLimit, answer, &seen)
}

/// Reports a 413, and names the server that it comes from.
pub(super) fn too_large(check: Check, answer: &Answer, seen: &str) -> Finding {
    let summary = answer.summary();
    if answer.is_of_registry() {
        return Finding::fault(check, format!("{seen} ({summary})"))
            .client("use smaller layers")
            .server("raise `http.maxblobsize`, the limit of the registry");
    }
    Finding::fault(
        check,
        format!(
            "{seen} ({summary}). This answer is from the proxy, not from the registry: `docker push` says `error parsing HTTP 413 response body: invalid character '<'`"
        ),
    )
    .client("use smaller layers; docker and podman send each layer in one request")
    .server(
        "nginx: `client_max_body_size 0;` in the `server` or `location` (nginx-proxy: in a file of \
         `vhost.d`). Apache has no limit for proxied requests, except `SecRequestBodyLimit` of mod_security. Cloudflare: the limit of its plans is 100 MB; use a host name that it does not proxy",
    )
}

/// Reports whether a proxy buffers a body until it is complete.
///
/// A registry answers at once for a session that does not exist. If that answer comes only for a request without a
/// body, a proxy waits for the body.
pub(super) async fn buffering(trial: &Trial<'_>) -> Option<Finding> {
    let nowhere = trial.path(NOWHERE);
    // Who has no answer for such a session proves nothing by having none.
    let known = trial.ask(Method::GET, &nowhere).await.ok()?;
    if known.status != StatusCode::NOT_FOUND || !trial.client.has_time() {
        return None;
    }
    let question = trial.question(Method::PATCH, &nowhere);
    match trial
        .client
        .announce(trial.door, question, 256 * KIB, Patience::All)
        .await
        .ok()?
    {
        Announced::Answer(answer) | Announced::AnswerFromBehind(answer) => {
            answer.is_of_registry().then(|| {
                Finding::ok(
                    Check::RequestBuffering,
                    "the registry receives an upload while it is sent",
                )
            })
        }
        Announced::Welcome => Some(
            Finding::warning(
                Check::RequestBuffering,
                "a proxy buffers each upload until it is complete: each layer is written twice, and takes twice as long",
            )
            .server("nginx: `proxy_request_buffering off;` with `proxy_http_version 1.1;`"),
        ),
        _ => None,
    }
}

/// Formats a number of bytes for people.
pub(super) fn amount(bytes: u64) -> String {
    if bytes >= MIB {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes / KIB)
    }
}
