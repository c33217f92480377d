//! [`Transport`]: requests over pooled connections, with or without TLS. It knows neither registries nor logins.

mod connector;
mod dial;
mod outgoing;
mod tls;

pub(crate) use self::{
    connector::{HostConnector, HostConnectors},
    outgoing::Outgoing,
    tls::{HostTls, Identity, TlsRules, certificates},
};

use self::{
    dial::Connector,
    outgoing::{Progress, Unreadable},
    tls::impossible,
};
use crate::{
    error::{Error, Result},
    proxies::Proxies,
    url::shown,
};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until, timeout};

/// Maximum number of headers in a response.
const HEADERS: usize = 100;
/// Maximum size of the head of a response, in bytes.
const HEAD: usize = 64 * 1024;
/// Factor of the idle time for a server that reads all content before it answers.
const VERIFYING: u32 = 10;
/// Time for which an unused connection is kept.
const KEPT: Duration = Duration::from_secs(60);

/// Sends requests. Clones share their connections.
#[derive(Clone)]
pub(crate) struct Transport {
    client: Client<Connector, Outgoing>,
    connectors: HostConnectors,
    proxies: Proxies,
    idle: Duration,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl Transport {
    /// Uses `tls` for `https`. Hosts with a connector have no proxy. A request or response during which nothing passes for
    /// `idle` fails.
    pub(crate) fn new(
        tls: Arc<TlsRules>,
        connectors: HostConnectors,
        proxies: Proxies,
        idle: Duration,
    ) -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .http1_max_headers(HEADERS)
            .http1_max_buf_size(HEAD);
        Self {
            client: builder.build(Connector::new(tls, connectors.clone(), proxies.clone())),
            connectors,
            proxies,
            idle,
        }
    }

    /// Sends a request, and returns the head of its response. A server that `verifies` the content has more time to answer, once
    /// it has all bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`], [`Error::Tls`] and [`Error::TimedOut`].
    pub(crate) async fn send(&self, mut request: Request<Outgoing>, verifies: bool) -> Result<Answered> {
        let url = request.uri().clone();
        let named = format!("{} {}", request.method(), shown(&url));
        if self.connectors.of(&url).is_none()
            && let Some(login) = self.proxies.login(&url)
        {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, login);
        }
        let progress = Progress::default();
        request.body_mut().report_to(progress.clone());
        let mut response = std::pin::pin!(self.client.request(request));
        let response = loop {
            let (last, complete) = progress.last();
            let after = if verifies && complete {
                self.idle * VERIFYING
            } else {
                self.idle
            };
            if last + after <= Instant::now() {
                return Err(Error::TimedOut { url: named, after });
            }
            tokio::select! {
                response = &mut response => {
                    break response.map_err(|error| failure(&named, error))?;
                }
                () = sleep_until(last + after) => {}
            }
        };
        let (head, body) = response.into_parts();
        Ok(Answered {
            url,
            named,
            status: head.status,
            headers: head.headers,
            body,
            idle: self.idle,
        })
    }
}

/// Converts an error of the pool, whose causes say more than itself.
fn failure(named: &str, error: hyper_util::client::legacy::Error) -> Error {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let said = cause.to_string();
        if cause.is::<Unreadable>() {
            return Error::Content(said.into());
        }
        if let Some(problem) = impossible(cause) {
            return Error::Tls {
                url: named.to_owned(),
                source: problem.into(),
            };
        }
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    Error::transport(named, Broken { text, source: error })
}

/// Error of a connection, with the messages of all its causes.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Broken {
    text: String,
    source: hyper_util::client::legacy::Error,
}

/// Response whose body has not been read.
#[derive(Debug)]
pub(crate) struct Answered {
    /// URL of the request, after redirects.
    pub(crate) url: Uri,
    /// Method and URL, for messages.
    pub(crate) named: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    idle: Duration,
}

impl Answered {
    /// Returns the head, as the protocol reads it.
    pub(crate) const fn answer(&self) -> registry_core::protocol::Answer<'_> {
        registry_core::protocol::Answer::new(self.status, &self.headers)
    }

    /// Returns the next bytes of the body, or `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`] and [`Error::TimedOut`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = timeout(self.idle, self.body.frame()).await;
            let Ok(frame) = frame else {
                return Err(Error::TimedOut {
                    url: self.named.clone(),
                    after: self.idle,
                });
            };
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(Error::transport(&*self.named, error)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    /// Reads the whole body, if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], and those of [`next`](Self::next).
    pub(crate) async fn read(&mut self, limit: usize) -> Result<Bytes> {
        let too_large = Error::TooLarge {
            url: self.named.clone(),
            limit: limit as u64,
        };
        let mut all = Vec::new();
        while let Some(more) = self.next().await? {
            if all.len() + more.len() > limit {
                return Err(too_large);
            }
            all.extend_from_slice(&more);
        }
        Ok(all.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_verifies_content_has_more_time_to_answer() {
        // It accepts connections, and answers nothing.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let tls = Arc::new(TlsRules::new(None, std::collections::HashMap::new()));
        let idle = Duration::from_secs(60);
        let transport = Transport::new(tls, HostConnectors::default(), Proxies::default(), idle);

        for body in [Outgoing::empty, || Outgoing::bytes("bytes".into())] {
            for (verifies, expected) in [(false, idle), (true, 10 * idle)] {
                let mut request = Request::new(body());
                *request.uri_mut() = url.parse().unwrap();

                let error = transport.send(request, verifies).await.unwrap_err();

                let timed_out = matches!(error, Error::TimedOut { after, .. } if after == expected);
                assert!(timed_out, "{error:?}");
            }
        }
    }
}
