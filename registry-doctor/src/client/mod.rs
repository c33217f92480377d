//! HTTP client of the doctor, with one connection per request, so that no answer depends on the one before.
//!
//! It neither follows redirects nor retries, as the checks examine what clients would do by themselves. Each step has a
//! timeout, and so have all steps together.

mod announced;
mod answer;
mod failure;
mod trust;

pub(super) use self::{
    announced::Announced,
    answer::{API_VERSION, Answer, shown},
    failure::Failure,
    trust::Trust,
};

use self::announced::{Held, Repeated};
use super::origin::{Origin, Scheme};
use crate::any_certificate;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Notify,
    time::{Instant, timeout_at},
};
use tokio_rustls::rustls::{ProtocolVersion, SupportedProtocolVersion, pki_types::CertificateDer};

/// Body of a request.
type Body = BoxBody<Bytes, Infallible>;

/// Timeout for connecting, and for the TLS handshake.
const CONNECT: Duration = Duration::from_secs(4);

/// Timeout for an answer once the request is sent.
const ANSWER: Duration = Duration::from_secs(8);

/// Additional time for cancelling an upload.
const TIDYING: Duration = Duration::from_secs(3);

/// Timeout for the first answer to an announced body, and then for that of the servers behind it.
const THOUGHT: Duration = Duration::from_secs(2);

/// Minimum speed of an upload in bytes per second.
const SLOW: u64 = 1024 * 1024;

/// Returns the timeout for sending a body of this size.
pub(super) fn time_for(size: u64) -> Duration {
    Duration::from_secs(size / SLOW) + ANSWER
}

/// Peers that a connection may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peers {
    /// Any server: for requests without a secret.
    Anybody,
    /// Servers with a trusted certificate.
    Known,
}

/// Servers whose answer to an announced body is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// First server on the way. `100 Continue` is sufficient.
    First,
    /// First server and the servers behind it.
    All,
}

/// Address at which a registry is reached.
#[derive(Clone, Debug)]
pub(super) struct Door {
    pub(super) origin: Origin,
    /// Path before `/v2/`: empty, or with a slash at its beginning and none at its end.
    pub(super) prefix: String,
    pub(super) peers: Peers,
}

impl Door {
    /// Returns the path to request at this door for a path of the registry, such as `/v2/`.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

/// Request without its body.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
}

impl Question {
    pub(super) fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: HeaderMap::new(),
        }
    }

    pub(super) fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Adds this `Authorization`, if there is one.
    pub(super) fn login(self, authorization: Option<&HeaderValue>) -> Self {
        match authorization {
            Some(authorization) => self.header(header::AUTHORIZATION, authorization.clone()),
            None => self,
        }
    }
}

/// Outcome of a handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) version: Option<ProtocolVersion>,
    /// Certificate of the server, followed by the others that it sent.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// Client that sends requests until its time is used up.
#[derive(Clone, Debug)]
pub(super) struct Client {
    trust: Arc<Trust>,
    ends: Instant,
}

impl Client {
    pub(super) fn new(trust: Arc<Trust>, time: Duration) -> Self {
        Self {
            trust,
            ends: Instant::now() + time,
        }
    }

    /// Returns a client with additional time, for cleaning up.
    pub(super) fn tidying(&self) -> Self {
        Self {
            trust: Arc::clone(&self.trust),
            ends: self.ends + TIDYING,
        }
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Returns true if there is time for another request, apart from cleaning up.
    pub(super) fn has_time(&self) -> bool {
        self.ends.saturating_duration_since(Instant::now()) > ANSWER
    }

    /// Sends a request without a body.
    pub(super) async fn ask(&self, door: &Door, question: Question) -> Result<Answer, Failure> {
        self.send(door, question, Empty::new().boxed(), ANSWER).await
    }

    /// Sends a request with `size` zero bytes, in chunks as docker does.
    pub(super) async fn upload(&self, door: &Door, question: Question, size: u64) -> Result<Answer, Failure> {
        let question = question.header(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        );
        self.send(door, question, Repeated::new(size).boxed(), time_for(size))
            .await
    }

    /// Announces a body of `size` bytes, sends none of it, and returns the server's reaction.
    pub(super) async fn announce(
        &self,
        door: &Door,
        question: Question,
        size: u64,
        patience: Patience,
    ) -> Result<Announced, Failure> {
        let question = question.header(header::EXPECT, HeaderValue::from_static("100-continue"));
        let mut request = prepared(door, question, Held::new(size).boxed());
        let welcome = Arc::new(Notify::new());
        hyper::ext::on_informational(&mut request, {
            let welcome = Arc::clone(&welcome);
            move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    welcome.notify_one();
                }
            }
        });
        let connection = self.open(door).await?;
        let exchange = connection.exchange(request);
        tokio::pin!(exchange);
        let welcomed = tokio::select! {
            answer = &mut exchange => return Ok(answer.map_or_else(Announced::Closed, Announced::Answer)),
            welcomed = self.within(THOUGHT, welcome.notified()) => welcomed.is_ok(),
        };
        Ok(match patience {
            _ if !welcomed => Announced::Silence,
            Patience::First => Announced::Welcome,
            Patience::All => match self.within(THOUGHT, exchange).await {
                Ok(answer) => answer.map_or_else(Announced::Closed, Announced::AnswerFromBehind),
                Err(_) => Announced::Welcome,
            },
        })
    }

    /// Checks that a server accepts connections at this origin.
    pub(super) async fn reaches(&self, origin: &Origin) -> Result<(), Failure> {
        self.connect(origin).await.map(drop)
    }

    /// Performs a handshake with any server, in these versions of TLS only.
    pub(super) async fn handshake(
        &self,
        origin: &Origin,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Handshake, Failure> {
        let connection = self.connect(origin).await?;
        let shaken = any_certificate::connect_with(versions, connection, origin.host());
        let stream = self.within(CONNECT, shaken).await?.map_err(Failure::Tls)?;
        let (_, session) = stream.get_ref();
        Ok(Handshake {
            version: session.protocol_version(),
            chain: session
                .peer_certificates()
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
        })
    }

    async fn send(
        &self,
        door: &Door,
        question: Question,
        body: Body,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let request = prepared(door, question, body);
        let connection = self.open(door).await?;
        self.within(patience, connection.exchange(request)).await?
    }

    async fn open(&self, door: &Door) -> Result<Connection, Failure> {
        let connection = self.connect(&door.origin).await?;
        if door.origin.scheme == Scheme::Http {
            return Ok(Connection::Plain(connection));
        }
        let host = door.origin.host();
        let stream = match door.peers {
            Peers::Anybody => {
                self.within(CONNECT, any_certificate::connect(connection, host))
                    .await?
            }
            Peers::Known => {
                self.within(CONNECT, trust::connect(&self.trust, connection, host))
                    .await?
            }
        };
        let stream = stream.map_err(Failure::Tls)?;
        Ok(Connection::Tls(Box::new(stream)))
    }

    async fn connect(&self, origin: &Origin) -> Result<TcpStream, Failure> {
        let addresses = tokio::net::lookup_host((origin.host(), origin.port()));
        let addresses = self
            .within(CONNECT, addresses)
            .await?
            .map_err(Failure::Unresolved)?;
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match self.within(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failure = error,
                // Firewalls drop what they do not let in; the next address may be of another family.
                Err(Failure::Silent(_)) => failure = io::ErrorKind::TimedOut.into(),
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::Unreachable(failure))
    }

    /// Runs one step with a timeout.
    async fn within<T>(&self, patience: Duration, step: impl Future<Output = T>) -> Result<T, Failure> {
        let until = Instant::now() + patience;
        let over = || {
            if self.ends < until {
                Failure::OutOfTime
            } else {
                Failure::Silent(patience)
            }
        };
        timeout_at(until.min(self.ends), step).await.or(Err(over()))
    }
}

enum Connection {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Connection {
    async fn exchange(self, request: Request<Body>) -> Result<Answer, Failure> {
        match self {
            Self::Plain(connection) => exchange(connection, request).await,
            Self::Tls(connection) => exchange(connection, request).await,
        }
    }
}

async fn exchange(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Body>,
) -> Result<Answer, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection))
        .await
        .map_err(Failure::NoAnswer)?;
    let driven = tokio::spawn(connection);
    let response: Result<Response<Incoming>, _> = sender.send_request(request).await;
    let answer = match response {
        Ok(response) => Ok(Answer::read(response).await),
        Err(error) => Err(Failure::NoAnswer(error)),
    };
    // The rest of a body that was not wanted goes nowhere.
    driven.abort();
    answer
}

fn prepared(door: &Door, question: Question, body: Body) -> Request<Body> {
    let Question {
        method,
        target,
        headers,
    } = question;
    let mut request = Request::new(body);
    // A target that is no target came from a server; asking for the root instead, nothing is found.
    *request.uri_mut() = target.parse().unwrap_or_default();
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::try_from(door.origin.authority()) {
        headers.insert(header::HOST, host);
    }
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("registry-doctor/", env!("CARGO_PKG_VERSION"))),
    );
    request
}
