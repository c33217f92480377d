//! [`Observed`]: the clock of the store, as its answers tell it.

use super::{
    dates::Dates,
    foreign::{Foreign, Marks},
    patient::{SILENCE, Silence, patience, patient, unanswered},
    time::StoreTime,
};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
        ReqwestConnector,
    },
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Information from the answers of the store.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    dates: Dates,
    /// Number of answers.
    answers: AtomicU64,
    /// Time until which the store counts as silent: a request has had no answer, and none has come since it was sent.
    silent_until: Mutex<Option<Instant>>,
    /// True if a command was told that there is no answer.
    is_reported: AtomicBool,
    marks: Marks,
}

impl Observed {
    /// Returns the latest time that the store has told, or `None` before its first answer.
    pub(crate) fn latest(&self) -> Option<StoreTime> {
        self.dates.latest()
    }

    /// Returns the time by which the clocks of the store's nodes differ, as far as answers have shown it lately.
    pub(crate) fn spread(&self) -> Duration {
        self.dates.spread()
    }

    /// Notes the date of an answer to a request that was sent at a local time.
    pub(crate) fn answer(&self, headers: &http::HeaderMap, asked: Instant) {
        self.dates.answer(headers, asked);
    }

    fn is_silent(&self) -> bool {
        let until = self.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    fn set_silent_until(&self, until: Option<Instant>) {
        *self.silent_until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Bounds the time of a request.
    async fn await_answer(
        &self,
        inner: &HttpClient,
        request: HttpRequest,
        silence: Silence,
    ) -> Result<HttpResponse, HttpError> {
        let is_silent = self.is_silent();
        let patience = patience(&request, is_silent);
        let before = self.answers.load(Ordering::Acquire);
        match tokio::time::timeout(patience, inner.execute(request)).await {
            Ok(answered) => {
                // A connection that is refused is an answer, too: nobody waits for it.
                self.answers.fetch_add(1, Ordering::AcqRel);
                self.set_silent_until(None);
                if answered.is_ok() {
                    self.is_reported.store(false, Ordering::Release);
                } else if silence == Silence::Asked && !self.is_reported.swap(true, Ordering::AcqRel) {
                    tracing::warn!("the object store cannot be reached; requests are repeated for some time");
                }
                answered
            }
            Err(_) => {
                if silence == Silence::Asked && !self.is_reported.swap(true, Ordering::AcqRel) {
                    tracing::warn!("the object store does not answer; requests are repeated for some time");
                }
                if !is_silent && self.answers.load(Ordering::Acquire) == before {
                    self.set_silent_until(Some(Instant::now() + SILENCE));
                }
                Err(unanswered(patience, silence))
            }
        }
    }
}

/// A connector whose clients tell [`Observed`] about every answer of the store.
#[derive(Clone, Debug)]
pub(crate) struct Observing {
    observed: Arc<Observed>,
    /// Host of the store. Services that give credentials have clocks of their own.
    host: Option<Arc<str>>,
    silence: Silence,
}

impl Observing {
    /// Observes the requests to a host, or all if there is none.
    pub(crate) fn of(observed: Arc<Observed>, host: Option<String>, silence: Silence) -> Self {
        Self {
            observed,
            host: host.map(Arc::from),
            silence,
        }
    }
}

impl HttpConnector for Observing {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service {
            inner,
            observing: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    observing: Observing,
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Observing {
            observed,
            host,
            silence,
        } = &self.observing;
        if host.is_some() && request.uri().host() != host.as_deref() {
            return self.inner.execute(request).await;
        }
        let (method, asked) = (request.method().clone(), Instant::now());
        let (is_listing, is_removal) = (is_listing(&request), is_removal(&request));
        let answered = observed.await_answer(&self.inner, request, *silence).await;
        let response = match answered {
            Err(error) if is_removal => return Err(repeatable(error)),
            answered => answered?,
        };
        if observed.marks.is_foreign(&method, &response) {
            return Err(HttpError::new(HttpErrorKind::Request, Foreign));
        }
        observed.answer(response.headers(), asked);
        let response = response.map(patient);
        match (is_listing, is_removal) {
            (true, _) => whole(response).await,
            (_, true) => whole(response).await.map_err(repeatable),
            _ => Ok(response),
        }
    }
}

/// Returns true for a request for a page of a listing, of any vendor.
fn is_listing(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let is_page = |name| matches!(name, "list-type=2" | "comp=list");
    request.method() == http::Method::GET && query.split('&').any(is_page)
}

/// Returns true for a request that removes objects, of any vendor.
fn is_removal(request: &HttpRequest) -> bool {
    let is_many = |query: &str| {
        query
            .split('&')
            .any(|part| matches!(part, "delete" | "comp=batch"))
    };
    match *request.method() {
        http::Method::DELETE => true,
        http::Method::POST => request.uri().query().is_some_and(is_many),
        _ => false,
    }
}

/// Makes the client library send a removal again after an error that says that its answer was lost. The library does so for
/// reads and writes only, although what [`Bucket`](super::Bucket) removes by it may be removed twice.
fn repeatable(error: HttpError) -> HttpError {
    match error.kind() {
        HttpErrorKind::Timeout | HttpErrorKind::Interrupted => HttpError::new(HttpErrorKind::Request, error),
        _ => error,
    }
}

/// Receives an answer. The client library sends a request again if there is none, and not if its body breaks off.
async fn whole(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let bytes = body.bytes().await;
    let bytes = bytes.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
    Ok(HttpResponse::from_parts(parts, bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use object_store::client::{HttpRequestBody, HttpResponseBody};

    /// A store that takes this long for an answer.
    #[derive(Clone, Debug)]
    struct Slow(Arc<Mutex<Duration>>);

    #[async_trait::async_trait]
    impl HttpService for Slow {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            let delay = *self.0.lock().unwrap();
            tokio::time::sleep(delay).await;
            Ok(http::Response::new(String::new().into()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_store_is_awaited_once_and_a_slow_one_recovers() {
        let observed = Observed::default();
        let slow = Slow(Arc::new(Mutex::new(Duration::from_secs(60))));
        let client = HttpClient::new(slow.clone());
        let ask = async || {
            let request = http::Request::get("http://s/b/k").body(HttpRequestBody::empty());
            let began = Instant::now();
            let answered = observed
                .await_answer(&client, request.unwrap(), Silence::Final)
                .await;
            (answered.is_ok(), began.elapsed().as_secs())
        };

        assert_eq!(ask().await, (false, 6));
        assert_eq!(ask().await, (false, 2));
        *slow.0.lock().unwrap() = Duration::from_secs(3);
        assert_eq!(ask().await, (false, 2));
        tokio::time::sleep(SILENCE).await;
        assert_eq!(ask().await, (true, 3), "it has its full time again");
        assert_eq!(ask().await, (true, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_request_says_if_it_is_sent_again() {
        let observed = Observed::default();
        let client = HttpClient::new(Slow(Arc::new(Mutex::new(Duration::from_secs(60)))));
        for (silence, kind) in [
            (Silence::Final, HttpErrorKind::Unknown),
            (Silence::Asked, HttpErrorKind::Timeout),
        ] {
            let request = http::Request::get("http://s/b/k").body(HttpRequestBody::empty());
            let answered = observed.await_answer(&client, request.unwrap(), silence).await;
            assert_eq!(answered.unwrap_err().kind(), kind);
        }
    }

    /// A store whose answers are lost.
    #[derive(Debug)]
    struct Lossy(HttpErrorKind);

    #[async_trait::async_trait]
    impl HttpService for Lossy {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            Err(HttpError::new(self.0, Foreign))
        }
    }

    #[tokio::test]
    async fn removals_whose_answer_is_lost_are_sent_again() {
        let sent_to = async |lossy: HttpErrorKind, method: &str, uri: &str| {
            let service = Service {
                inner: HttpClient::new(Lossy(lossy)),
                observing: Observing::of(Arc::default(), None, Silence::Asked),
            };
            let request = http::Request::builder().method(method).uri(uri);
            let answered = service
                .call(request.body(HttpRequestBody::empty()).unwrap())
                .await;
            answered.unwrap_err().kind()
        };
        for lost in [HttpErrorKind::Interrupted, HttpErrorKind::Timeout] {
            for (method, uri) in [
                ("DELETE", "http://s/b/k"),
                ("POST", "http://s/b?delete"),
                ("POST", "http://s/b?restype=container&comp=batch"),
            ] {
                let kind = sent_to(lost, method, uri).await;
                assert_eq!(kind, HttpErrorKind::Request, "{method} {uri}");
            }
            // Of a write, the client library knows whether it may be sent again.
            for (method, uri) in [("PUT", "http://s/b/k"), ("POST", "http://s/b/k?uploads")] {
                assert_eq!(sent_to(lost, method, uri).await, lost, "{method} {uri}");
            }
        }
        let unknown = HttpErrorKind::Unknown;
        assert_eq!(sent_to(unknown, "DELETE", "http://s/b/k").await, unknown);
    }

    /// A store whose answers break off.
    #[derive(Debug)]
    struct Broken;

    #[async_trait::async_trait]
    impl HttpService for Broken {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            let lost: Result<Frame<Bytes>, _> = Err(HttpError::new(HttpErrorKind::Unknown, Foreign));
            let body = StreamBody::new(futures_util::stream::iter([lost]));
            Ok(http::Response::new(HttpResponseBody::new(body)))
        }
    }

    #[tokio::test]
    async fn a_removal_whose_answer_breaks_off_is_sent_again() {
        let service = Service {
            inner: HttpClient::new(Broken),
            observing: Observing::of(Arc::default(), None, Silence::Asked),
        };
        let request = http::Request::post("http://s/b?delete").body(HttpRequestBody::empty());
        let answered = service.call(request.unwrap()).await;
        assert_eq!(answered.unwrap_err().kind(), HttpErrorKind::Request);
    }

    #[tokio::test]
    async fn the_answers_of_listings_are_received_whole_or_asked_for_again() {
        let of = |text: &str| {
            let request = http::Request::get(text).body(HttpRequestBody::empty());
            is_listing(&request.unwrap())
        };
        assert!(of("http://s/b?list-type=2&prefix=a"));
        assert!(of("http://s/b?restype=container&comp=list"));
        assert!(!of("http://s/b/k") && !of("http://s/b/k?versionId=list-type=2"));

        let pieces: [Result<_, HttpError>; 2] = [
            Ok(Frame::data(Bytes::from_static(b"half"))),
            Err(HttpError::new(HttpErrorKind::Unknown, Foreign)),
        ];
        let body = StreamBody::new(futures_util::stream::iter(pieces));
        let broken = http::Response::new(HttpResponseBody::new(body));
        assert_eq!(
            whole(broken).await.unwrap_err().kind(),
            HttpErrorKind::Interrupted
        );
        let sound = whole(http::Response::new("whole".to_owned().into()))
            .await
            .unwrap();
        assert_eq!(sound.into_body().bytes().await.unwrap(), "whole");
    }
}
