//! HTTP client for requests to the authority.

use crate::{
    error::TlsError,
    pair::{File, certificates},
};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use std::{
    fs,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// Time limit for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// HTTP client with its own trust and time limit, which remembers the `Retry-After` of the authority.
///
/// Cheap to clone; clones share connections and state.
#[derive(Clone)]
pub(super) struct AcmeClient {
    http: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    not_before: Arc<Mutex<Option<SystemTime>>>,
}

impl AcmeClient {
    /// Makes a client that trusts the authorities in the file `ca`, or those of the system.
    pub(super) fn new(provider: &Arc<CryptoProvider>, ca: Option<&Path>) -> Result<Self, TlsError> {
        let roots = match ca {
            Some(path) => roots_of(path)?,
            None => roots_of_the_system()?,
        };
        let tls = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).build(connector),
            not_before: Arc::default(),
        })
    }

    /// Takes the time before which the authority wants no request, if its last refusal gave one (`Retry-After`).
    pub(super) fn take_not_before(&self) -> Option<SystemTime> {
        self.not_before
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl HttpClient for AcmeClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = self.http.request(request);
        let not_before = Arc::clone(&self.not_before);
        Box::pin(async move {
            let answer = match tokio::time::timeout(TIMEOUT, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return Err(Error::Other(Box::new(error))),
                Err(_) => {
                    let waited = format!("it did not answer within {} s", TIMEOUT.as_secs());
                    return Err(Error::Other(waited.into()));
                }
            };
            let status = answer.status();
            if status.is_client_error() || status.is_server_error() {
                *not_before.lock().unwrap_or_else(PoisonError::into_inner) =
                    retry_after(answer.headers().get(header::RETRY_AFTER), SystemTime::now());
                // Problems are JSON. The pages of load balancers are not, and explain nothing.
                if !is_json(answer.headers().get(header::CONTENT_TYPE)) {
                    return Err(Error::Other(status_text(status).into()));
                }
            }
            Ok(BytesResponse::from(answer))
        })
    }
}

fn status_text(status: StatusCode) -> String {
    format!("it answered {status}")
}

fn is_json(content_type: Option<&http::HeaderValue>) -> bool {
    content_type
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("json"))
}

/// Parses the seconds of a `Retry-After`. (Authorities send seconds; dates are ignored.)
fn retry_after(value: Option<&http::HeaderValue>, now: SystemTime) -> Option<SystemTime> {
    let seconds = value?.to_str().ok()?.trim().parse().ok()?;
    now.checked_add(Duration::from_secs(seconds))
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let content = fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(File {
        path,
        content: &content,
    })? {
        roots.add(certificate.der).map_err(TlsError::setup)?;
    }
    Ok(roots)
}

fn roots_of_the_system() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::setup(
            "the system has no trusted authorities, which the connection to an ACME directory needs: install the \
             package ca-certificates, or set a CA file for the directory",
        ));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn retry_after_is_a_number_of_seconds() {
        let now = SystemTime::UNIX_EPOCH;
        let read = |text: &'static str| retry_after(Some(&HeaderValue::from_static(text)), now);

        assert_eq!(read("120"), Some(now + Duration::from_secs(120)));
        assert_eq!(read("soon"), None);
        assert_eq!(read("18446744073709551615"), None);
        assert_eq!(retry_after(None, now), None);
    }
}
