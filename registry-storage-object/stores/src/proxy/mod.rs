//! [`HostileProxy`]: a proxy in front of an object store, which does to requests what networks and stores do at worst.
//!
//! It passes everything on as received until a test sets a rule: [`HostileProxy::fault`] says to which requests
//! ([`On`]) what happens ([`Fault`]). Requests reach the store even if the client has given up meanwhile, as a message
//! does that is late.

mod condition;
mod fault;
mod gate;
mod on;
mod repeat;
mod rule;

pub use crate::call::Kind;

pub use self::{
    fault::Fault,
    gate::Gate,
    on::{On, on, on_any},
    repeat::Repeat,
    rule::Rule,
};

use self::rule::{Acting, Rules};
use crate::{
    call::Call,
    http1::{self, Arriving, HttpServer},
    xml,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// A proxy in front of an object store, with the faults that a test chooses. It ends when it is dropped.
///
/// The header `Host` passes as the client sent it, since it is signed.
#[derive(Debug)]
pub struct HostileProxy {
    server: HttpServer,
    shared: Arc<Shared>,
}

/// State that the proxy and its exchanges share.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    rules: Rules,
    log: Mutex<Log>,
}

/// Requests that have arrived, by their numbers.
#[derive(Debug, Default)]
struct Log {
    arrived: usize,
    seen: BTreeMap<usize, Seen>,
}

/// A request that has arrived at the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Kind of the request.
    pub kind: Kind,
    /// Key of the object, or the prefix of a listing.
    pub key: String,
    /// Status that the client received; `None` while there is none, or if the connection was closed instead.
    pub status: Option<StatusCode>,
}

impl HostileProxy {
    /// Starts a proxy in front of a store.
    ///
    /// # Errors
    ///
    /// An error of starting a thread or binding a socket.
    pub fn start(upstream: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            upstream,
            rules: Rules::default(),
            log: Mutex::default(),
        });
        let answering = Arc::clone(&shared);
        let server = HttpServer::start(Arc::new(move |request| {
            let shared = Arc::clone(&answering);
            Box::pin(async move { exchange(&shared, request).await })
        }))?;
        Ok(Self { server, shared })
    }

    /// Returns the address of the proxy.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the URL of the proxy, the endpoint of a client.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Lets a fault happen to requests. All rules that match a request apply to it, in the order of their making.
    pub fn fault(&self, on: On, fault: Fault) -> Rule {
        if let Fault::Repeat(repeat) = &fault {
            repeat.attach(self.server.handle(), self.shared.upstream);
        }
        self.shared.rules.add(on, fault)
    }

    /// Refuses connections from now on, and cuts the open ones.
    pub async fn refuse_connections(&self) {
        self.server.refuse().await;
    }

    /// Accepts connections again.
    ///
    /// # Errors
    ///
    /// An error of listening on the port.
    pub fn accept_connections(&self) -> io::Result<()> {
        self.server.accept()
    }

    /// Returns the requests so far, in the order of arrival.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.log().seen.values().cloned().collect()
    }

    /// Returns the number of requests of a kind so far.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.shared
            .log()
            .seen
            .values()
            .filter(|seen| seen.kind == kind)
            .count()
    }

    /// Returns the number of requests of each kind so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for seen in self.shared.log().seen.values() {
            *counts.entry(seen.kind).or_default() += 1;
        }
        counts
    }

    /// Forgets the requests so far, so that the next ones are counted from zero.
    pub fn forget(&self) {
        self.shared.log().seen.clear();
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Records a request, and returns its number.
    fn arrive(&mut self, call: &Call) -> usize {
        self.arrived += 1;
        let seen = Seen {
            kind: call.kind,
            key: call.key.clone(),
            status: None,
        };
        self.seen.insert(self.arrived, seen);
        self.arrived
    }
}

/// Records a request, and what becomes of it.
async fn exchange(shared: &Shared, request: Request<Arriving>) -> Option<Response<Bytes>> {
    let call = Call::of(&request);
    let number = shared.log().arrive(&call);
    let answered = act(shared, &call, request).await;
    if let (Some(seen), Some(response)) = (shared.log().seen.get_mut(&number), &answered) {
        seen.status = Some(response.status());
    }
    answered
}

/// Applies the rules that match a request.
async fn act(shared: &Shared, call: &Call, request: Request<Arriving>) -> Option<Response<Bytes>> {
    let acting = Acting(shared.rules.matching(call));
    let (parts, body) = request.into_parts();
    let (mut checks, mut holds) = (false, true);
    if acting.faults().any(|fault| matches!(fault, Fault::CheckEarly)) {
        (checks, holds) = (true, condition::holds(shared.upstream, &parts).await);
    }
    let mut request = Request::from_parts(parts, body.await.ok()?);
    if !holds {
        return Some(canned(StatusCode::PRECONDITION_FAILED));
    }
    if checks {
        request = condition::without(request);
    }
    for fault in acting.faults() {
        match fault {
            Fault::Delay(gate) => gate.pass().await,
            Fault::Answer(status) => return Some(canned(*status)),
            Fault::AnswerBeforeEffect(status, gate) => {
                send_later(shared.upstream, gate.clone(), request);
                return Some(canned(*status));
            }
            Fault::Cut => return None,
            Fault::IgnoreConditions => request = condition::without(request),
            Fault::Repeat(repeat) => repeat.record(&request),
            Fault::Double(gate) => send_later(shared.upstream, gate.clone(), request.clone()),
            Fault::CheckEarly
            | Fault::DelayAnswer(_)
            | Fault::AnswerAfterEffect(_)
            | Fault::CutAfterEffect
            | Fault::OmitKeys(_)
            | Fault::WrongDate(_) => {}
        }
    }
    let Ok(mut response) = http1::send(shared.upstream, request).await else {
        return Some(canned(StatusCode::BAD_GATEWAY));
    };
    for fault in acting.faults() {
        match fault {
            Fault::DelayAnswer(gate) => gate.pass().await,
            Fault::AnswerAfterEffect(status) => return Some(canned(*status)),
            Fault::CutAfterEffect => return None,
            Fault::OmitKeys(parts) => response = omit(response, parts),
            Fault::WrongDate(ahead) => date(&mut response, *ahead),
            Fault::CheckEarly
            | Fault::Delay(_)
            | Fault::Answer(_)
            | Fault::AnswerBeforeEffect(..)
            | Fault::Cut
            | Fault::IgnoreConditions
            | Fault::Repeat(_)
            | Fault::Double(_) => {}
        }
    }
    Some(response)
}

/// Sends a request once a gate is open. Nobody receives the answer.
fn send_later(store: SocketAddr, gate: Gate, request: Request<Bytes>) {
    tokio::spawn(async move {
        gate.pass().await;
        let _ = http1::send(store, request).await;
        gate.leave();
    });
}

/// Sets the date of an answer to the present time of a clock that is ahead.
fn date(response: &mut Response<Bytes>, ahead: Duration) {
    let date = httpdate::fmt_http_date(SystemTime::now() + ahead);
    let date = date.parse().expect("a date is a value of a header");
    response.headers_mut().insert(header::DATE, date);
}

/// Returns an answer that the store has not given.
fn canned(status: StatusCode) -> Response<Bytes> {
    let code = match status {
        StatusCode::SERVICE_UNAVAILABLE => "SlowDown",
        StatusCode::PRECONDITION_FAILED => "PreconditionFailed",
        _ => "InternalError",
    };
    let body = format!("<Error><Code>{code}</Code><Message>the proxy answers {status}</Message></Error>");
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
}

/// Removes the keys that contain one of `parts` from a listing.
fn omit(response: Response<Bytes>, parts: &[String]) -> Response<Bytes> {
    let (mut head, body) = response.into_parts();
    let listing = String::from_utf8_lossy(&body).into_owned();
    let omitted = |element: &'static str| {
        move |content: &str| {
            xml::contents(content, element)
                .iter()
                .any(|key| parts.iter().any(|part| xml::unescape(key).contains(part)))
        }
    };
    let listing = xml::without(&listing, "Contents", omitted("Key"));
    let listing = xml::without(&listing, "CommonPrefixes", omitted("Prefix"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, listing.into())
}
