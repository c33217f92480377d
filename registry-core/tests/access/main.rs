//! Tests of permissions, which are checked before any storage call, and of the responses to refused clients.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod authenticators;
mod context;
mod decisions;
mod recording;
mod refusals;
mod tags;
mod users;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use recording::Recording;
use registry_core::{
    Action, Algorithm, Authenticator, Authorizer, Digest, Identity, MediaType, Registry, RepositoryName,
    auth::{Access, AuthError, AuthRequest, Authorize, Challenge, Decision},
};
use serde_json::{Value, json};

/// Session id that no registry has issued.
const SESSION: &str = "00000000-0000-4000-8000-000000000000";

/// Request of a test.
#[derive(Clone, Debug)]
struct Ask {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Ask {
    fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn by(self, user: &str) -> Self {
        self.with("authorization", user)
    }

    fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    async fn send(self, registry: &Registry) -> Answer {
        let mut request = Request::builder().method(self.method).uri(self.target);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        answer(registry, request.body(self.body).unwrap()).await
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns every `WWW-Authenticate`.
    fn challenges(&self) -> Vec<&str> {
        let values = self.headers.get_all(header::WWW_AUTHENTICATE);
        values.iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// Returns the scope of the challenge; empty without one.
    fn scope(&self) -> &str {
        let challenge = self.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
        let scope = challenge.split_once("scope=\"");
        scope.map_or("", |(_, scope)| scope.trim_end_matches('"'))
    }
}

async fn answer(registry: &Registry, request: Request<String>) -> Answer {
    let (parts, body) = registry.handle(request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// Accepts any name in `Authorization`, except `wrong`, and offers a token challenge.
#[derive(Debug)]
struct ByHeader;

#[async_trait]
impl Authenticator for ByHeader {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        let name = request.headers.get(header::AUTHORIZATION);
        match name.map(|value| value.to_str().unwrap()) {
            Some("wrong") => Err(AuthError::Rejected),
            Some(name) => Ok(Some(Identity::new(name))),
            None => Ok(None),
        }
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![Challenge::bearer("https://auth.example/token", "test")]
    }
}

/// Decides by a function of user, repository (empty for the catalog) and action.
struct Decides<F>(F);

impl<F> std::fmt::Debug for Decides<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decides")
    }
}

#[async_trait]
impl<F> Authorizer for Decides<F>
where
    F: Fn(Option<&str>, &str, Action) -> Decision + Send + Sync + 'static,
{
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let access = ask.access;
        let repository = access.repository.as_ref().map_or("", RepositoryName::as_str);
        let subject = ask.who.map(|identity| &*identity.subject);
        Ok((self.0)(subject, repository, access.action))
    }
}

/// Creates a registry with [`ByHeader`] as authenticator and `decide` as authorizer.
fn ruled(
    storage: &Recording,
    decide: impl Fn(Option<&str>, &str, Action) -> Decision + Send + Sync + 'static,
) -> Registry {
    Registry::builder(storage.clone())
        .authenticator(ByHeader)
        .authorizer(Decides(decide))
        .build()
}

/// Returns the digest of `{}`, the blob that [`filled`] puts into every repository.
fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"{}")
}

/// Returns a manifest with `{}` as config and without layers. The comment makes its digest distinct.
fn manifest(comment: &str) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest().to_string(), "size": 2},
        "layers": [],
        "comment": comment,
    })
    .to_string()
}

/// Returns the request that puts [`manifest`] under a tag of `team/app`.
fn put(tag: &str, comment: &str) -> Ask {
    Ask::new(Method::PUT, format!("/v2/team/app/manifests/{tag}"))
        .with("content-type", MediaType::OCI_MANIFEST)
        .body(manifest(comment))
}

/// Creates a storage with `{}` and a manifest tagged `v1` in each of `repositories`, and an empty record.
async fn filled(repositories: &[&str]) -> Recording {
    let storage = Recording::default();
    let registry = Registry::builder(storage.clone()).build();
    for name in repositories.iter().copied() {
        let repository = registry.repository(name).unwrap();
        repository.push_blob("{}", None).await.unwrap();
        let tag = registry_core::Tag::parse("v1").unwrap();
        let push = registry_core::service::ManifestPush::new(tag, manifest("first"));
        repository.put_manifest(push).await.unwrap();
    }
    storage.asked();
    storage
}

/// Returns every endpoint and method of a repository, with the action that it needs and the scope of its
/// challenge.
fn every_request() -> Vec<(Ask, Action, &'static str)> {
    use {Action as A, Method as M};
    const PULL: &str = "repository:team/app:pull";
    const PUSH: &str = "repository:team/app:pull,push";
    const DELETE: &str = "repository:team/app:delete";
    let digest = digest();
    let manifest_digest = Digest::of(Algorithm::Sha256, manifest("first").as_bytes());
    let at = |rest: &str| format!("/v2/team/app/{rest}");
    let session = at(&format!("blobs/uploads/{SESSION}"));
    let uploads = at("blobs/uploads/");
    let by_digest = Ask::new(M::PUT, at(&format!("manifests/{manifest_digest}")))
        .with("content-type", MediaType::OCI_MANIFEST)
        .body(manifest("first"));
    vec![
        (Ask::new(M::GET, at("tags/list")), A::Pull, PULL),
        (Ask::new(M::HEAD, at("tags/list")), A::Pull, PULL),
        (
            Ask::new(M::GET, at(&format!("referrers/{digest}"))),
            A::Pull,
            PULL,
        ),
        (Ask::new(M::GET, at(&format!("blobs/{digest}"))), A::Pull, PULL),
        (Ask::new(M::HEAD, at(&format!("blobs/{digest}"))), A::Pull, PULL),
        (
            Ask::new(M::DELETE, at(&format!("blobs/{digest}"))),
            A::Delete,
            DELETE,
        ),
        (Ask::new(M::GET, at("manifests/v1")), A::Pull, PULL),
        (Ask::new(M::HEAD, at("manifests/v1")), A::Pull, PULL),
        (
            Ask::new(M::GET, at(&format!("manifests/{manifest_digest}"))),
            A::Pull,
            PULL,
        ),
        (put("v1", "first"), A::Push, PUSH),
        (put("v2?tag=v3", "second"), A::Push, PUSH),
        (by_digest, A::Push, PUSH),
        (Ask::new(M::DELETE, at("manifests/v1")), A::Delete, DELETE),
        (
            Ask::new(M::DELETE, at(&format!("manifests/{manifest_digest}"))),
            A::Delete,
            DELETE,
        ),
        (Ask::new(M::POST, &*uploads), A::Push, PUSH),
        (
            Ask::new(M::POST, format!("{uploads}?digest={digest}")).body("{}"),
            A::Push,
            PUSH,
        ),
        (
            Ask::new(M::POST, format!("{uploads}?mount={digest}")),
            A::Push,
            PUSH,
        ),
        (
            Ask::new(M::POST, format!("{uploads}?mount={digest}&from=other/app")),
            A::Push,
            "repository:team/app:pull,push repository:other/app:pull",
        ),
        (Ask::new(M::GET, &*session), A::Push, PUSH),
        (Ask::new(M::PATCH, &*session).body("{}"), A::Push, PUSH),
        (
            Ask::new(M::PUT, format!("{session}?digest={digest}")).body("{}"),
            A::Push,
            PUSH,
        ),
        (Ask::new(M::DELETE, &*session), A::Push, PUSH),
    ]
}
