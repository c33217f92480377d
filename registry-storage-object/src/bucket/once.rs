//! Writes that are sent once, and cannot take effect after a given time of the store's clock.
//!
//! One that a busy store has turned away is sent again: it had no effect.

use super::{Bucket, Dialect, Signing, StoreTime, Version, busy::is_turned_away, error::RETRY_AFTER};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use object_store::{
    PutMode, PutOptions, UpdateVersion,
    client::HttpRequestBody,
    signer::{SignedUrlOptions, Url},
};
use registry_core::storage::{Result, StorageError};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Precondition of a write.
#[derive(Clone, Debug)]
pub(crate) enum Condition {
    /// None.
    Any,
    /// There is no object.
    Absent,
    /// The object has this version.
    Is(Version),
}

/// Time of the store's clock after which a request has no effect any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence {
    /// A time that the store told before the decision to send was made.
    pub(crate) told: StoreTime,
    /// Validity from then on.
    pub(crate) valid: Duration,
}

impl Fence {
    pub(crate) fn expires(&self) -> StoreTime {
        self.told.after(self.valid)
    }
}

/// Outcome of a request that was sent once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It took effect.
    Done(Version),
    /// The condition did not hold. It had no effect.
    Refused,
    /// It came too late. It had no effect.
    Expired,
    /// Its answer was lost. It may take effect until the fence's time.
    Unclear,
}

/// Validity of a conditional write whose caller has no fence.
const DEFAULT_VALIDITY: Duration = Duration::from_secs(60);

/// Time for the answer to a request that is sent once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time after which a request is sent again that a busy store has turned away. It doubles each time.
const PAUSE: Duration = Duration::from_millis(100);

/// Number of looks at the store's clock, two per second, until a URL has expired by it.
const LOOKS: usize = 20;

impl Bucket {
    /// Writes an object if the condition holds. Sent once.
    pub(crate) async fn put_once(
        &self,
        key: &str,
        bytes: Bytes,
        condition: &Condition,
        fence: Option<Fence>,
    ) -> Result<Sent> {
        match &self.clients.signer {
            None => self.put_directly(key, bytes, condition).await,
            Some(signing) => {
                let mut headers = signing.headers.clone();
                conditions(&mut headers, self.clients.dialect, condition);
                self.send_once(signing, Method::PUT, key, Some(bytes), headers, fence)
                    .await
            }
        }
    }

    /// Removes an object if the condition holds. Sent once. An object that is not there is [`Sent::Refused`] or
    /// [`Sent::Done`], depending on the store.
    pub(crate) async fn delete_once(
        &self,
        key: &str,
        condition: &Condition,
        fence: Option<Fence>,
    ) -> Result<Sent> {
        match &self.clients.signer {
            None => self.delete_directly(key, condition).await,
            Some(signing) => {
                let mut headers = http::HeaderMap::new();
                conditions(&mut headers, self.clients.dialect, condition);
                self.send_once(signing, Method::DELETE, key, None, headers, fence)
                    .await
            }
        }
    }

    /// Sends a write whose URL has expired, for the probe: a store that accepts it cannot keep late writes out. `None` if the
    /// store's clock does not pass that time.
    pub(crate) async fn send_late(
        &self,
        key: &str,
        bytes: Option<Bytes>,
        condition: &Condition,
    ) -> Result<Option<Sent>> {
        let Some(signing) = &self.clients.signer else {
            return Ok(Some(Sent::Expired));
        };
        let method = if bytes.is_some() {
            Method::PUT
        } else {
            Method::DELETE
        };
        let mut headers = signing.headers.clone();
        conditions(&mut headers, self.clients.dialect, condition);
        self.fix(&mut headers, &method);
        let second = Duration::from_secs(1);
        let url = self.signed(signing, &method, key, &headers, second).await?;
        let late = expiry(&url).unwrap_or_else(|| StoreTime::of(SystemTime::now()).after(second));
        // The clock of the store decides, and only its answers tell it. Some tell none.
        for _ in 0..LOOKS {
            let now = self.clients.observed.latest();
            if now.is_some_and(|now| now > late.after(second)) {
                // Any refusal is one of the time then: Azure names no other reason than that it may not be authenticated.
                let fence = Some(Fence {
                    told: late,
                    valid: Duration::ZERO,
                });
                let sent = self.send(signing, &method, key, url, bytes, headers, fence);
                return sent.await.map(Some);
            }
            tokio::time::sleep(second / 2).await;
            self.head(key).await?;
        }
        Ok(None)
    }

    async fn send_once(
        &self,
        signing: &Signing,
        method: Method,
        key: &str,
        body: Option<Bytes>,
        mut headers: http::HeaderMap,
        fence: Option<Fence>,
    ) -> Result<Sent> {
        self.fix(&mut headers, &method);
        match self.fenced_url(signing, &method, key, &headers, fence).await? {
            Some(url) => self.send(signing, &method, key, url, body, headers, fence).await,
            None => Ok(Sent::Expired),
        }
    }

    /// Adds the headers that the vendor requires of a write.
    fn fix(&self, headers: &mut http::HeaderMap, method: &Method) {
        if self.clients.dialect == Dialect::Azure && method == Method::PUT {
            headers.insert("x-ms-blob-type", http::HeaderValue::from_static("BlockBlob"));
        }
    }

    /// Sends a request, and again while the store turns it away: that had no effect.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    async fn send(
        &self,
        signing: &Signing,
        method: &Method,
        key: &str,
        url: Url,
        body: Option<Bytes>,
        headers: http::HeaderMap,
        fence: Option<Fence>,
    ) -> Result<Sent> {
        let (began, mut pause) = (Instant::now(), PAUSE);
        loop {
            let (url, headers) = (&url, headers.clone());
            let sent = self.ask(signing, method, key, url, body.clone(), headers, fence);
            match sent.await? {
                Some(sent) => return Ok(sent),
                None if began.elapsed() + pause > PATIENCE => {
                    return Err(StorageError::unavailable(
                        format!("the object store is too busy for {method} {key}"),
                        Some(RETRY_AFTER),
                        None,
                    ));
                }
                None => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
    }

    /// Sends a request once. Returns `None` if the store has turned it away.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    async fn ask(
        &self,
        signing: &Signing,
        method: &Method,
        key: &str,
        url: &Url,
        body: Option<Bytes>,
        headers: http::HeaderMap,
        fence: Option<Fence>,
    ) -> Result<Option<Sent>> {
        let mut request = http::Request::builder().method(method).uri(url.as_str());
        let sent = headers.clone();
        if let Some(target) = request.headers_mut() {
            *target = headers;
        }
        let request = request
            .body(body.map_or_else(HttpRequestBody::empty, HttpRequestBody::from))
            .map_err(|error| StorageError::failed(format!("cannot ask for {key}"), error))?;
        let answered = tokio::time::timeout(PATIENCE, signing.http.execute(request)).await;
        let Ok(Ok(response)) = answered else {
            tracing::debug!(key, %method, "the answer of the object store was lost");
            return Ok(Some(Sent::Unclear));
        };
        let (parts, body) = response.into_parts();
        let version = Version(UpdateVersion {
            e_tag: text(&parts.headers, "etag"),
            version: text(&parts.headers, "x-goog-generation")
                .or_else(|| text(&parts.headers, "x-amz-version-id")),
        });
        match parts.status {
            status if status.is_success() => Ok(Some(Sent::Done(version))),
            // Without a precondition, it is a lease or a conflicting operation of the store, and nothing was done.
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT | StatusCode::NOT_MODIFIED => {
                Ok(Some(if has_precondition(&sent) {
                    Sent::Refused
                } else {
                    Sent::Unclear
                }))
            }
            // The object is not there. Without a precondition, it is the bucket.
            StatusCode::NOT_FOUND if method == Method::DELETE || expects_version(&sent) => {
                Ok(Some(Sent::Refused))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                let message = body.bytes().await.unwrap_or_default();
                let is_turned_away =
                    is_turned_away(status, &parts.headers, &String::from_utf8_lossy(&message));
                Ok((!is_turned_away).then_some(Sent::Unclear))
            }
            status => {
                let message = body.bytes().await.unwrap_or_default();
                let message = String::from_utf8_lossy(message.get(..1024).unwrap_or(&message)).into_owned();
                let late = fence.is_some_and(|fence| {
                    let now = self.clients.observed.latest();
                    now.is_some_and(|now| now >= fence.expires())
                });
                if late || message.contains("xpired") {
                    return Ok(Some(Sent::Expired));
                }
                Err(StorageError::unavailable(
                    format!("the object store answers {status} to {method} {key}: {message}"),
                    Some(RETRY_AFTER),
                    None,
                ))
            }
        }
    }

    /// Signs a request so that it expires no later than the fence. Returns `None` if that time has passed.
    async fn fenced_url(
        &self,
        signing: &Signing,
        method: &Method,
        key: &str,
        headers: &http::HeaderMap,
        fence: Option<Fence>,
    ) -> Result<Option<Url>> {
        let valid = match fence {
            None => DEFAULT_VALIDITY,
            Some(fence) => match fence.expires().time().duration_since(SystemTime::now()) {
                Ok(left) if left.as_secs() > 0 => Duration::from_secs(left.as_secs()),
                // The local clock may be ahead of the store's.
                _ => return Ok(None),
            },
        };
        let url = self.signed(signing, method, key, headers, valid).await?;
        // The signature carries its own clock: what counts is what was signed.
        match (fence, expiry(&url)) {
            (Some(fence), Some(signed)) if signed > fence.expires() => Ok(None),
            (Some(_), None) => Err(StorageError::internal(format!(
                "a signed request for {key} does not say when it expires"
            ))),
            _ => Ok(Some(url)),
        }
    }

    async fn signed(
        &self,
        signing: &Signing,
        method: &Method,
        key: &str,
        headers: &http::HeaderMap,
        valid: Duration,
    ) -> Result<Url> {
        // Headers of the vendor have to be signed.
        let mut options = SignedUrlOptions::new();
        if self.clients.dialect != Dialect::Azure {
            for (name, value) in headers.iter().filter(|(name, _)| name.as_str().starts_with("x-")) {
                options = options.with_signed_header(name.clone(), value.clone());
            }
        }
        signing
            .signer
            .signed_url_opts(method.clone(), &self.path(key), valid, &options)
            .await
            .map_err(|error| StorageError::failed(format!("cannot sign a request for {key}"), error))
    }

    async fn put_directly(&self, key: &str, bytes: Bytes, condition: &Condition) -> Result<Sent> {
        let mode = match condition {
            Condition::Any => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Is(version) => PutMode::Update(version.0.clone()),
        };
        let options = PutOptions::from(mode);
        let _one = self.clients.one.lock().await;
        match self
            .clients
            .objects
            .put_opts(&self.path(key), bytes.into(), options)
            .await
        {
            Ok(put) => Ok(Sent::Done(Version(put.into()))),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. }
                | object_store::Error::NotFound { .. },
            ) => Ok(Sent::Refused),
            Err(error) => Err(super::error::failed("write", key, error)),
        }
    }

    async fn delete_directly(&self, key: &str, condition: &Condition) -> Result<Sent> {
        let gone = Sent::Done(Version(UpdateVersion {
            e_tag: None,
            version: None,
        }));
        // Only memory comes here. It has no conditional deletion: the lock makes the two calls one.
        let _one = self.clients.one.lock().await;
        match (condition, self.head(key).await?) {
            (Condition::Is(version), Some(found)) if found.version != *version => Ok(Sent::Refused),
            (Condition::Is(_), None) => Ok(Sent::Refused),
            _ => self.delete(key).await.map(|()| gone),
        }
    }
}

fn conditions(headers: &mut http::HeaderMap, dialect: Dialect, condition: &Condition) {
    let value = |text: &str| http::HeaderValue::from_str(text).ok();
    match (condition, dialect) {
        (Condition::Any, _) => {}
        (Condition::Absent, Dialect::Gcs) => {
            headers.insert("x-goog-if-generation-match", http::HeaderValue::from_static("0"));
        }
        (Condition::Absent, _) => {
            headers.insert(header::IF_NONE_MATCH, http::HeaderValue::from_static("*"));
        }
        (Condition::Is(version), Dialect::Gcs) => {
            if let Some(value) = version.0.version.as_deref().and_then(value) {
                headers.insert("x-goog-if-generation-match", value);
            }
        }
        (Condition::Is(version), _) => {
            if let Some(value) = version.0.e_tag.as_deref().and_then(value) {
                headers.insert(header::IF_MATCH, value);
            }
        }
    }
}

fn has_precondition(headers: &http::HeaderMap) -> bool {
    [
        header::IF_MATCH.as_str(),
        header::IF_NONE_MATCH.as_str(),
        "x-goog-if-generation-match",
    ]
    .iter()
    .any(|name| headers.contains_key(*name))
}

/// Returns true if a request changes only an object that is there.
fn expects_version(headers: &http::HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH)
        || headers
            .get("x-goog-if-generation-match")
            .is_some_and(|generation| generation != "0")
}

fn text(headers: &http::HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// Returns the time at which a signed URL expires, as it says itself.
fn expiry(url: &Url) -> Option<StoreTime> {
    let find = |name: &str| {
        url.query_pairs()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.into_owned())
    };
    let begins = find("X-Amz-Date").or_else(|| find("X-Goog-Date"));
    match begins {
        Some(begins) => {
            let seconds = find("X-Amz-Expires").or_else(|| find("X-Goog-Expires"))?;
            Some(basic_time(&begins)?.after(Duration::from_secs(seconds.parse().ok()?)))
        }
        None => extended_time(&find("se")?),
    }
}

fn basic_time(text: &str) -> Option<StoreTime> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(StoreTime::of(time.timestamp().into()))
}

fn extended_time(text: &str) -> Option<StoreTime> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(StoreTime::of(time.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::{Stops, clients};
    use async_trait::async_trait;
    use object_store::{
        client::{HttpClient, HttpError, HttpRequest, HttpResponse, HttpService},
        memory::InMemory,
        path::Path,
    };
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_expiry_is_what_the_signature_says() {
        let at = |text: &str| expiry(&Url::parse(text).unwrap()).map(|time| time.time());
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_396_800 + 60);
        assert_eq!(
            at("http://s/k?X-Amz-Date=20130524T120000Z&X-Amz-Expires=60"),
            Some(noon)
        );
        assert_eq!(
            at("http://s/k?X-Goog-Date=20130524T120000Z&X-Goog-Expires=60"),
            Some(noon)
        );
        assert_eq!(at("http://s/k?st=x&se=2013-05-24T12%3A01%3A00Z"), Some(noon));
        assert_eq!(at("http://s/k?X-Amz-Date=20130524T120000Z"), None);
        assert_eq!(at("http://s/k"), None);
    }

    /// A store that gives these answers, one after the other.
    #[derive(Debug)]
    struct Answers(Mutex<Vec<http::Response<&'static str>>>);

    #[async_trait]
    impl HttpService for Answers {
        async fn call(&self, _: HttpRequest) -> std::result::Result<HttpResponse, HttpError> {
            let answer = self.0.lock().unwrap().pop().expect("there is an answer left");
            Ok(answer.map(|text| text.to_owned().into()))
        }
    }

    #[derive(Debug)]
    struct Plain;

    #[async_trait]
    impl object_store::signer::Signer for Plain {
        async fn signed_url(&self, _: Method, path: &Path, _: Duration) -> object_store::Result<Url> {
            Ok(Url::parse(&format!("http://s/{path}")).unwrap())
        }

        async fn signed_url_opts(
            &self,
            method: Method,
            path: &Path,
            valid: Duration,
            _: &SignedUrlOptions,
        ) -> object_store::Result<Url> {
            self.signed_url(method, path, valid).await
        }
    }

    /// Returns the outcome of a removal that has some answers before it is done, and the time that it took.
    async fn removed_after(
        number: usize,
        status: u16,
        id: Option<&str>,
        text: &'static str,
    ) -> (Result<Sent>, Duration) {
        let before = (0..number).map(|_| {
            let response = http::Response::builder().status(status);
            let response = id
                .into_iter()
                .fold(response, |response, id| response.header(id, "7"));
            response.body(text).unwrap()
        });
        let done = http::Response::builder().status(204).body("").unwrap();
        let answers = std::iter::once(done).chain(before).collect();
        let memory = Arc::new(InMemory::new());
        let clients = crate::bucket::Clients {
            dialect: Dialect::S3,
            signer: Some(Signing {
                bucket: "b".to_owned(),
                signer: Arc::new(Plain),
                http: HttpClient::new(Answers(Mutex::new(answers))),
                headers: http::HeaderMap::new(),
                connecting: crate::bucket::Connecting {
                    user_agent: http::HeaderValue::from_static("test"),
                    accept_invalid_certificates: false,
                    timeout: PATIENCE,
                },
            }),
            ..clients(&memory, &Stops::never())
        };
        let began = Instant::now();
        let sent = Bucket::new(clients, "")
            .delete_once("k", &Condition::Any, None)
            .await;
        (sent, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_a_busy_store_turns_away_is_sent_again() {
        let slow_down =
            "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
        let id = Some("x-amz-request-id");
        for (status, text) in [(503, slow_down), (429, "")] {
            let (sent, took) = removed_after(3, status, id, text).await;
            assert!(matches!(sent, Ok(Sent::Done(_))), "{status}: {sent:?}");
            assert_eq!(took, PAUSE * (1 + 2 + 4));
        }
        let (sent, took) = removed_after(100, 503, id, slow_down).await;
        assert!(matches!(sent, Err(StorageError::Unavailable { .. })), "{sent:?}");
        assert!(took < PATIENCE);
        // These may have had an effect.
        for (status, id, text) in [
            (503, None, slow_down),
            (503, id, "<Code>ServiceUnavailable</Code>"),
            (500, id, slow_down),
        ] {
            let (sent, _) = removed_after(1, status, id, text).await;
            assert!(
                matches!(sent, Ok(Sent::Unclear)),
                "{status} {id:?} {text}: {sent:?}"
            );
        }
    }
}
