//! Requests by signed URLs: those of clients that read an object themselves, and our own that the client library lacks.

use super::{Bucket, error::RETRY_AFTER};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use object_store::{client::HttpRequestBody, path::Path, signer::SignedUrlOptions};
use registry_core::storage::{Result, StorageError};
use std::time::Duration;

/// Validity of our own requests.
const VALIDITY: Duration = Duration::from_secs(15 * 60);

/// Number of times that a request which may be repeated is sent.
const TRIES: usize = 3;

/// Answer to a request of our own.
pub(super) enum Answer {
    /// The store has done it, with this body of its answer.
    Done(String),
    /// Nothing is there that could be changed.
    Absent,
}

impl Bucket {
    /// Returns true if the store can be asked by signed URLs.
    pub(crate) fn signs(&self) -> bool {
        self.clients.signer.is_some()
    }

    /// Signs a URL by which anybody reads an object for some time. It is good for GET only.
    pub(crate) async fn signed_get(&self, key: &str, validity: Duration) -> Result<Uri> {
        let Some(signing) = &self.clients.signer else {
            return Err(StorageError::Unsupported("sign URLs"));
        };
        let fail = |error| StorageError::failed(format!("cannot sign a URL of {key}"), error);
        let url = signing
            .signer
            .signed_url(Method::GET, &self.path(key), validity)
            .await
            .map_err(fail)?;
        url.as_str()
            .parse()
            .map_err(|error| StorageError::failed(format!("cannot sign a URL of {key}"), Box::new(error)))
    }

    /// Sends a request that may be repeated, for an object or, by the empty path, for the bucket. All headers are signed.
    pub(super) async fn signed_request(
        &self,
        method: Method,
        path: &Path,
        query: &[(&'static str, String)],
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer> {
        let Some(signing) = &self.clients.signer else {
            return Err(StorageError::Unsupported("sign URLs"));
        };
        let fail = |error| StorageError::failed(format!("cannot sign a request for {path}"), error);
        let mut options = SignedUrlOptions::new().with_query(query.iter().cloned());
        options.signed_headers = headers.clone();
        let url = signing
            .signer
            .signed_url_opts(method.clone(), path, VALIDITY, &options)
            .await
            .map_err(fail)?;
        let mut last = String::new();
        for _ in 0..TRIES {
            let mut request = http::Request::builder().method(&method).uri(url.as_str());
            if let Some(target) = request.headers_mut() {
                target.clone_from(&headers);
            }
            let request = request
                .body(HttpRequestBody::from(body.clone()))
                .map_err(|error| StorageError::failed(format!("cannot ask for {path}"), error))?;
            let (status, text) = match signing.http.execute(request).await {
                Err(error) => {
                    last = error.to_string();
                    continue;
                }
                Ok(response) => {
                    let status = response.status();
                    let text = response.into_body().bytes().await.unwrap_or_default();
                    (status, String::from_utf8_lossy(&text).into_owned())
                }
            };
            // A store that has begun to answer can only report a failure in the body.
            match status {
                StatusCode::NOT_FOUND => return Ok(Answer::Absent),
                status if status.is_success() && !text.contains("<Error>") => return Ok(Answer::Done(text)),
                status => last = format!("{status}: {}", text.get(..1024).unwrap_or(&text)),
            }
        }
        Err(StorageError::unavailable(
            format!("the object store fails at {method} {path}: {last}"),
            Some(RETRY_AFTER),
            None,
        ))
    }
}
