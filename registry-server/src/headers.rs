//! `http.headers`: adds headers to every answer below `/v2/`, errors included, and answers a browser's preflights.
//!
//! Each value is a line of its own, as with registry:2. Unlike with registry:2:
//!
//! - A preflight is answered without a login, as a browser sends no credentials with it.
//! - Only configured origins get the `Access-Control-*` lines; a request with a foreign `Origin` gets none of them.

use crate::config::Headers;
use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use std::sync::Arc;

/// Headers that every answer carries.
#[derive(Clone, Debug)]
pub(crate) struct AnswerHeaders {
    headers: Arc<Headers>,
}

impl AnswerHeaders {
    pub(crate) fn new(headers: Headers) -> Self {
        let this = Self {
            headers: Arc::new(headers),
        };
        if this.any_origin() && this.credentials() {
            tracing::warn!(
                "http.headers: browsers refuse `Access-Control-Allow-Origin: *` together with \
                 `Access-Control-Allow-Credentials: true`: name the origin of the user interface, such as \
                 `Access-Control-Allow-Origin: ['https://ui.example.com']`"
            );
        }
        this
    }

    /// Layer around the registry: adds the headers.
    pub(crate) async fn add(State(this): State<Self>, request: Request, next: Next) -> Response {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let preflight = *request.method() == Method::OPTIONS
            && origin.is_some()
            && request
                .headers()
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && this.origins().next().is_some();
        let mut response = if preflight {
            StatusCode::NO_CONTENT.into_response()
        } else {
            next.run(request).await
        };
        this.apply(origin.as_ref(), &mut response);
        response
    }

    fn apply(&self, origin: Option<&HeaderValue>, response: &mut Response) {
        let foreign =
            origin.is_some_and(|origin| !self.any_origin() && !self.origins().any(|own| own == origin));
        for (name, values) in &self.headers.0 {
            // What the registry says itself it knows better.
            if response.headers().contains_key(name) || (foreign && is_permission(name)) {
                continue;
            }
            match origin {
                Some(origin) if *name == header::ACCESS_CONTROL_ALLOW_ORIGIN && !self.any_origin() => {
                    response.headers_mut().insert(name, origin.clone());
                }
                _ => {
                    for value in values {
                        response.headers_mut().append(name, value.clone());
                    }
                }
            }
        }
        if self.origins().next().is_some() && !self.any_origin() {
            response
                .headers_mut()
                .append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }

    fn values(&self, wanted: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.headers
            .0
            .iter()
            .filter(move |(name, _)| name == wanted)
            .flat_map(|(_, values)| values)
    }

    /// Returns the origins that may read answers.
    fn origins(&self) -> impl Iterator<Item = &HeaderValue> {
        self.values(&header::ACCESS_CONTROL_ALLOW_ORIGIN)
    }

    fn any_origin(&self) -> bool {
        self.origins().any(|origin| origin == "*")
    }

    fn credentials(&self) -> bool {
        self.values(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS)
            .any(|value| value == "true")
    }
}

fn is_permission(name: &HeaderName) -> bool {
    name.as_str().starts_with("access-control-")
}
