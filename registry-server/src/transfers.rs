//! Logs each image that is pushed or pulled, if there is no access log.
//!
//! A push ends with the manifest, and a push of several platforms with an index under a tag. A manifest that is put by
//! digest is therefore a part of an image, and logged at level `debug`. A pull is logged for its manifest; an index
//! that was read before is not logged.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use registry_core::{Identity, MediaType, Reference, auth::ClientAddress, protocol::Endpoint};
use std::{net::IpAddr, sync::Arc};

/// Layer that logs pushes and pulls.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    /// Path before `/v2/`.
    prefix: Arc<str>,
}

impl Transfers {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    /// Logs the transfer of a request. The layer needs the client's address, which an outer layer determines.
    pub(crate) async fn log(State(this): State<Self>, request: Request, next: Next) -> Response {
        let asked = this.asked(&request);
        let response = next.run(request).await;
        if let Some(asked) = asked {
            asked.tell(&response);
        }
        response
    }

    /// Returns the manifest that a request puts or reads, if any.
    fn asked(&self, request: &Request) -> Option<Asked> {
        let is_push = match *request.method() {
            Method::PUT => true,
            Method::GET => false,
            _ => return None,
        };
        let path = request.uri().path().strip_prefix(&*self.prefix)?;
        let Ok(Endpoint::Manifest(repository, reference)) = Endpoint::parse(path) else {
            return None;
        };
        let is_tagged = match &reference {
            Reference::Tag(_) => true,
            Reference::Digest(_) => request.uri().query().is_some_and(|query| {
                let mut fields = query.split('&');
                fields.any(|field| field.starts_with("tag="))
            }),
        };
        let image = match &reference {
            Reference::Tag(tag) => format!("{repository}:{tag}"),
            Reference::Digest(digest) => format!("{repository}@{digest}"),
        };
        let client = request.extensions().get::<ClientAddress>();
        Some(Asked {
            image,
            is_push,
            is_tagged,
            client: client.map(|client| client.0.ip().to_canonical()),
        })
    }
}

/// Manifest that is put or read.
#[derive(Debug)]
struct Asked {
    image: String,
    is_push: bool,
    is_tagged: bool,
    client: Option<IpAddr>,
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Pushed,
    PushedPart,
    Pulled,
}

impl Asked {
    fn outcome(&self, status: StatusCode, headers: &HeaderMap) -> Option<Outcome> {
        match (self.is_push, status) {
            (true, StatusCode::CREATED) if self.is_tagged => Some(Outcome::Pushed),
            (true, StatusCode::CREATED) => Some(Outcome::PushedPart),
            (false, StatusCode::OK) => {
                let media_type = MediaType::parse(headers.get(header::CONTENT_TYPE)?.to_str().ok()?).ok()?;
                (!media_type.is_index()).then_some(Outcome::Pulled)
            }
            _ => None,
        }
    }

    fn tell(&self, response: &Response) {
        let Some(outcome) = self.outcome(response.status(), response.headers()) else {
            return;
        };
        let image = &self.image;
        let client = self.client.map(tracing::field::display);
        let user = response.extensions().get::<Identity>();
        let user = user.map(|user| &*user.subject);
        match outcome {
            Outcome::Pushed => tracing::info!(client, user, "pushed {image}"),
            Outcome::PushedPart => tracing::debug!(client, user, "pushed {image}"),
            Outcome::Pulled => tracing::info!(client, user, "pulled {image}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn asked(method: Method, path: &str) -> Option<Asked> {
        let request = Request::builder().method(method).uri(path);
        Transfers::new("/registry").asked(&request.body(Body::empty()).unwrap())
    }

    fn outcome(method: Method, path: &str, status: u16, media_type: &str) -> Option<(String, Outcome)> {
        let asked = asked(method, &format!("/registry{path}"))?;
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, media_type.parse().unwrap())]);
        let outcome = asked.outcome(StatusCode::from_u16(status).unwrap(), &headers)?;
        Some((asked.image, outcome))
    }

    #[test]
    fn an_image_is_told_once_on_its_way_in_and_once_on_its_way_out() {
        let by_digest = format!("/v2/team/app/manifests/{DIGEST}");
        let digest = format!("team/app@{DIGEST}");
        let tagged = format!("{by_digest}?tag=v1");
        for (method, path, status, media_type, expected) in [
            (
                Method::PUT,
                "/v2/team/app/manifests/v1",
                201,
                "",
                Some(("team/app:v1", Outcome::Pushed)),
            ),
            (
                Method::PUT,
                &*by_digest,
                201,
                "",
                Some((&*digest, Outcome::PushedPart)),
            ),
            (Method::PUT, &*tagged, 201, "", Some((&*digest, Outcome::Pushed))),
            (Method::PUT, "/v2/team/app/manifests/v1", 400, "", None),
            (
                Method::GET,
                "/v2/team/app/manifests/v1",
                200,
                MediaType::DOCKER_MANIFEST,
                Some(("team/app:v1", Outcome::Pulled)),
            ),
            (
                Method::GET,
                "/v2/team/app/manifests/v1",
                200,
                MediaType::OCI_INDEX,
                None,
            ),
            (
                Method::GET,
                "/v2/team/app/manifests/v1",
                404,
                "application/json",
                None,
            ),
            (
                Method::GET,
                &*by_digest,
                200,
                MediaType::OCI_MANIFEST,
                Some((&*digest, Outcome::Pulled)),
            ),
            (
                Method::HEAD,
                "/v2/team/app/manifests/v1",
                200,
                MediaType::OCI_MANIFEST,
                None,
            ),
            (
                Method::GET,
                "/v2/team/app/tags/list",
                200,
                "application/json",
                None,
            ),
        ] {
            let expected = expected.map(|(image, outcome)| (image.to_owned(), outcome));
            assert_eq!(
                outcome(method.clone(), path, status, media_type),
                expected,
                "{method} {path}"
            );
        }
        assert!(
            asked(Method::GET, "/v2/app/manifests/v1").is_none(),
            "it is not below the prefix"
        );
    }
}
