//! [`Call`]: one request to a registry, with its redirects and its attempts.

use crate::{
    client::Client,
    error::{Error, Result},
    host::Host,
    refusal::{is_transient, refusal},
    transport::Answered,
    url,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::Empty;
use registry_core::protocol::Request;

/// Maximum number of redirects.
const REDIRECTS: usize = 5;

/// Request to a registry that can be sent several times.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) host: Host,
    pub(crate) request: Request,
    pub(crate) accept: Option<&'static str>,
}

impl Call {
    pub(crate) fn new(host: &Host, request: Request) -> Self {
        Self {
            host: host.clone(),
            request,
            accept: None,
        }
    }

    pub(crate) fn accepting(self, accept: &'static str) -> Self {
        Self {
            accept: Some(accept),
            ..self
        }
    }

    fn headers(&self, user_agent: &HeaderValue) -> HeaderMap {
        let mut headers = self.request.headers();
        headers.insert(header::USER_AGENT, user_agent.clone());
        if let Some(accept) = self.accept {
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
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
        let answered = self.follow(call).await?;
        if expected.contains(&answered.status) && !is_transient(answered.status) {
            return Ok(answered);
        }
        Err(refusal(answered).await)
    }

    /// Sends a call once, and follows redirects.
    async fn follow(&self, call: &Call) -> Result<Answered> {
        let own = self.url(&call.host, "/");
        let mut url = self.url(&call.host, &call.request.target());
        let headers = call.headers(&self.inner().user_agent);
        for _ in 0..=REDIRECTS {
            self.check_plain(&own, &url)?;
            let mut request = http::Request::new(Empty::new());
            *request.method_mut() = call.request.method();
            *request.uri_mut() = url.clone();
            *request.headers_mut() = headers.clone();
            let answered = self.inner().transport.send(request).await?;
            match redirect(&call.request.method(), &answered)? {
                None => return Ok(answered),
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
