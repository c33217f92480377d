//! Whole requests: parsed, built again, and answered.

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use registry_core::{
    Registry,
    protocol::{Endpoint, Links, Request},
    storage::MemoryStorage,
};
use serde_json::Value;

/// Head of a request, in the form of the corpus.
#[derive(Clone, Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path, as it was received.
    pub path: String,
    /// The text after the first question mark.
    pub query: Option<String>,
    /// The headers.
    pub headers: HeaderMap,
}

impl Head {
    /// Reads a file of `corpus/request/`; `None` for a head that no HTTP library would pass on.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut lines = str::from_utf8(data).ok()?.split('\n');
        let (method, target) = lines.next()?.split_once(' ')?;
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ")?;
            headers.append(
                HeaderName::try_from(name).ok()?,
                HeaderValue::try_from(value).ok()?,
            );
        }
        Some(Self {
            method: Method::from_bytes(method.as_bytes()).ok()?,
            path: path.to_owned(),
            query,
            headers,
        })
    }

    fn understood(&self) -> Result<Request, registry_core::Error> {
        Ok(Request::parse(
            &self.method,
            &self.path,
            self.query.as_deref(),
            &self.headers,
        )?)
    }

    fn of(request: &Request) -> Self {
        let target = request.target();
        let (path, query) = target
            .split_once('?')
            .map_or((&*target, None), |(path, query)| (path, Some(query.to_owned())));
        Self {
            method: request.method(),
            path: path.to_owned(),
            query,
            headers: request.headers(),
        }
    }
}

/// Checks that a parsed request can be built, and that its parsing gives the same request. Every answer is readable by
/// a client, and none is a failure of the server.
pub fn request(data: &[u8]) {
    let Some(head) = Head::parse(data) else { return };
    match head.understood() {
        Ok(request) => {
            let again = Head::of(&request)
                .understood()
                .expect("what was built is understood");
            assert_eq!(again.target(), request.target());
            assert_eq!(again.headers(), request.headers());
            assert_eq!(again.endpoint(), request.endpoint());
            links(&request);
        }
        Err(error) => {
            assert!(error.wire().0.is_client_error());
            assert!(
                error.body().len() < 4 << 10,
                "an answer of {} bytes",
                error.body().len()
            );
        }
    }
    answered(&head);
}

fn links(request: &Request) {
    let endpoint = request.endpoint();
    assert!(endpoint.methods().contains(&request.method()));
    let links = Links::below("https://registry.example/below").expect("a URL");
    let url: http::Uri = links.to(&endpoint).parse().expect("a link is a URL");
    let path = url.path().strip_prefix("/below").expect("below the base");
    assert_eq!(Endpoint::parse(path).ok(), Some(endpoint));
}

fn answered(head: &Head) {
    let target = match &head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.clone(),
    };
    let Ok(uri) = target.parse::<http::Uri>() else {
        return;
    };
    let mut request = http::Request::new(Empty::<Bytes>::new());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = head.headers.clone();
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();

    let response = registry
        .handle(request)
        .now_or_never()
        .expect("nothing here waits");
    let (parts, body) = response.into_parts();
    let body = body.collect().now_or_never().expect("nothing here waits");
    let body = body.expect("the body is in memory").to_bytes();

    assert!(!parts.status.is_server_error(), "{}", parts.status);
    assert_eq!(parts.headers["docker-distribution-api-version"], "registry/2.0");
    let unsatisfiable = parts.status == StatusCode::RANGE_NOT_SATISFIABLE;
    if parts.status.is_client_error() && head.method != Method::HEAD && !unsatisfiable {
        let errors: Value = serde_json::from_slice(&body).expect("an error is JSON");
        assert!(errors["errors"][0]["code"].is_string());
    }
    for (name, value) in &parts.headers {
        assert!(value.to_str().is_ok(), "{name} is no text");
    }
}
