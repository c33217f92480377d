//! [`Call`]: one request to a registry, with its redirects and its attempts.

use crate::{
    auth::Login,
    client::Client,
    content::Replay,
    error::{Error, Result},
    host::Host,
    refusal::{is_transient, refusal},
    transport::{Answered, Outgoing},
    url,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use registry_core::protocol::Request;
use std::{fmt, sync::Arc};

/// Maximum number of redirects.
const REDIRECTS: usize = 5;

/// Request to a registry that can be sent several times.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) host: Host,
    pub(crate) request: Request,
    /// URL of an upload session or of a next page, instead of the target of the request.
    pub(crate) url: Option<Uri>,
    pub(crate) accept: Option<&'static str>,
    pub(crate) payload: Payload,
}

/// Body of a request that can be sent several times.
#[derive(Clone)]
pub(crate) enum Payload {
    Empty,
    Bytes(Bytes),
    /// `length` bytes of the content, from an offset on. It ends there unless it `continues`.
    Replay {
        content: Arc<dyn Replay>,
        from: u64,
        length: u64,
        continues: bool,
    },
}

impl Payload {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Replay { length, .. } => *length,
        }
    }

    async fn open(&self) -> Result<Outgoing> {
        Ok(match self {
            Self::Empty => Outgoing::empty(),
            Self::Bytes(bytes) => Outgoing::bytes(bytes.clone()),
            Self::Replay {
                content,
                from,
                length,
                continues,
            } => {
                let stream = content.open(*from).await.map_err(Error::Content)?;
                Outgoing::stream(stream, *length, *continues)
            }
        })
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.length())
    }
}

impl Call {
    pub(crate) fn new(host: &Host, request: Request) -> Self {
        Self {
            host: host.clone(),
            request,
            url: None,
            accept: None,
            payload: Payload::Empty,
        }
    }

    pub(crate) fn at(self, url: Uri) -> Self {
        Self {
            url: Some(url),
            ..self
        }
    }

    pub(crate) fn accepting(self, accept: &'static str) -> Self {
        Self {
            accept: Some(accept),
            ..self
        }
    }

    pub(crate) fn sending(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }

    fn headers(&self, user_agent: &HeaderValue) -> HeaderMap {
        let mut headers = self.request.headers();
        headers.insert(header::USER_AGENT, user_agent.clone());
        if let Some(accept) = self.accept {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        }
        if self.request.may_change() && self.request.method() != Method::DELETE {
            headers.insert(header::CONTENT_LENGTH, self.payload.length().into());
        }
        headers
    }
}

impl Client {
    /// Sends a call, repeatedly after transient failures, and returns the first response with one of the statuses
    /// `expected`.
    ///
    /// # Errors
    ///
    /// The refusal of the registry, or the failure of the last attempt.
    pub(crate) async fn send(&self, call: &Call, expected: &[StatusCode]) -> Result<Answered> {
        let mut attempts = self.attempts();
        loop {
            match self.send_once(call, expected).await {
                Ok(answered) => return Ok(answered),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// Sends a call, and reads the body of at most `limit` bytes. A body that breaks off is requested again.
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send), and [`Error::TooLarge`].
    pub(crate) async fn fetch(
        &self,
        call: &Call,
        expected: &[StatusCode],
        limit: usize,
    ) -> Result<(Answered, Bytes)> {
        let mut attempts = self.attempts();
        loop {
            let read = async {
                let mut answered = self.send_once(call, expected).await?;
                let body = answered.read(limit).await?;
                Ok((answered, body))
            };
            match read.await {
                Ok(read) => return Ok(read),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// Sends a call once, and returns the response if it has one of the statuses `expected`.
    pub(crate) async fn send_once(&self, call: &Call, expected: &[StatusCode]) -> Result<Answered> {
        let mut login = self.login(call).await?;
        let (mut answered, mut sent) = self.follow(call, login.as_ref()).await?;
        if answered.status == StatusCode::UNAUTHORIZED && self.is_own(call, &answered.url) {
            // A challenge is met once. A second one refuses what was offered.
            if let Some(next) = self.meet(call, &answered, login.as_ref()).await? {
                (answered, sent) = self.follow(call, Some(&next)).await?;
                login = Some(next);
            }
        }
        if expected.contains(&answered.status) && !is_transient(answered.status) {
            return Ok(answered);
        }
        let with_credential = sent && login.is_some_and(|login| login.with_credential);
        Err(refusal(answered, with_credential).await)
    }

    /// Returns true if `url` is of the registry itself. Another host may not ask for its credential.
    fn is_own(&self, call: &Call, url: &Uri) -> bool {
        url::same_origin(&self.origin(&call.host), url)
    }

    /// Sends a call once, and follows redirects. `login` is for the registry alone. Returns true beside the response if the
    /// last request had it.
    async fn follow(&self, call: &Call, login: Option<&Login>) -> Result<(Answered, bool)> {
        let own = self.origin(&call.host);
        let mut url = match &call.url {
            Some(url) => url.clone(),
            None => self.url(&call.host, &call.request.target())?,
        };
        let headers = call.headers(&self.inner().user_agent);
        let mut login = login;
        for _ in 0..=REDIRECTS {
            self.check_plain(&own, &url)?;
            let mut request = http::Request::new(call.payload.open().await?);
            *request.method_mut() = call.request.method();
            *request.uri_mut() = url.clone();
            *request.headers_mut() = headers.clone();
            // Once another host has chosen the URL there is no login, also if it leads back to the registry.
            login = login.filter(|_| url::same_origin(&own, &url));
            if let Some(login) = login {
                request
                    .headers_mut()
                    .insert(header::AUTHORIZATION, login.header.clone());
            }
            // A registry may read the whole blob before it answers.
            let verifies = matches!(call.request, Request::Close { .. });
            let answered = self.inner().transport.send(request, verifies).await?;
            match redirect(&call.request.method(), &answered)? {
                None => return Ok((answered, login.is_some())),
                Some(next) => url = next,
            }
        }
        Err(Error::protocol(
            format!("{} {}", call.request.method(), url::shown(&url)),
            format!("there are more than {REDIRECTS} redirects"),
        ))
    }

    /// Refuses plain HTTP where it is not configured, and after `https`.
    fn check_plain(&self, own: &Uri, url: &Uri) -> Result<()> {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        if url::is_https(url) || (!url::is_https(own) && self.is_plain(authority)) {
            return Ok(());
        }
        Err(Error::protocol(
            url::shown(url),
            "the registry sends the client to plain HTTP, which is not allowed for this host",
        ))
    }
}

/// Returns the URL that the response redirects to. A change is only repeated if the redirect keeps the method.
fn redirect(method: &Method, answered: &Answered) -> Result<Option<Uri>> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let follows = match answered.status {
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => reads,
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        _ => false,
    };
    if !follows {
        return Ok(None);
    }
    let location = answered
        .answer()
        .location()
        .and_then(|location| url::resolve(&answered.url, location));
    let malformed = || Error::protocol(&*answered.named, "a redirect without a usable Location");
    location.map(Some).ok_or_else(malformed)
}
