//! Tests of the service over `MemoryStorage`, without sockets: permissions, hooks and responses.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod abilities;
mod access;
mod answers;
mod blobs;
mod by_host;
mod hooks;
mod hosted;
mod in_process;
mod ledger;
mod logging;
mod options;
mod outages;
mod remedies;
mod repositories;
mod restore;
mod retention;
mod tags;
mod view;
mod view_http;
mod wrapped;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use registry_core::{
    Action, Algorithm, Authenticator, Authorizer, Digest, Identity, Registry, RepositoryName, Storage, Tag,
    auth::{Access, AuthError, AuthRequest, Authorize, Challenge, Decision},
    service::ManifestPush,
    storage::MemoryStorage,
};
use serde_json::{Value, json};

struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn message(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["errors"][0]["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends a request as `user`, which [`ByHeader`] accepts.
async fn send(registry: &Registry, user: Option<&str>, method: Method, target: &str, body: &str) -> Response {
    let mut request = Request::builder().method(method).uri(target);
    if let Some(user) = user {
        request = request.header(header::AUTHORIZATION, user);
    }
    let response = registry.handle(request.body(body.to_owned()).unwrap()).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Response {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

/// Accepts any name in `Authorization`, except `wrong`.
#[derive(Debug)]
struct ByHeader;

#[async_trait]
impl Authenticator for ByHeader {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        match request
            .headers
            .get(header::AUTHORIZATION)
            .map(|value| value.to_str().unwrap())
        {
            Some("wrong") => Err(AuthError::Rejected),
            Some(name) => Ok(Some(Identity::new(name))),
            None => Ok(None),
        }
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![Challenge::basic("test")]
    }
}

/// Decides by a function.
struct Rules(fn(Option<&str>, &str, Action) -> Decision);

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rules")
    }
}

#[async_trait]
impl Authorizer for Rules {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let Authorize { who, access, .. } = ask;
        let repository = access.repository.as_ref().map_or("", RepositoryName::as_str);
        Ok((self.0)(
            who.map(|identity| &*identity.subject),
            repository,
            access.action,
        ))
    }
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"{}")
}

/// Returns every endpoint and method of a repository.
fn every_request() -> Vec<(Method, String)> {
    let digest = digest();
    let session = "/v2/team/app/blobs/uploads/00000000-0000-4000-8000-000000000000";
    vec![
        (Method::GET, "/v2/team/app/tags/list".into()),
        (Method::GET, format!("/v2/team/app/blobs/{digest}")),
        (Method::HEAD, format!("/v2/team/app/blobs/{digest}")),
        (Method::DELETE, format!("/v2/team/app/blobs/{digest}")),
        (Method::GET, "/v2/team/app/manifests/v1".into()),
        (Method::HEAD, format!("/v2/team/app/manifests/{digest}")),
        (Method::DELETE, "/v2/team/app/manifests/v1".into()),
        (Method::DELETE, format!("/v2/team/app/manifests/{digest}")),
        (Method::GET, format!("/v2/team/app/referrers/{digest}")),
        (Method::GET, session.into()),
        (Method::PATCH, session.into()),
        (Method::PUT, format!("{session}?digest={digest}")),
        (Method::DELETE, session.into()),
        (Method::PUT, "/v2/team/app/manifests/v1".into()),
        (Method::POST, "/v2/team/app/blobs/uploads/".into()),
        (
            Method::POST,
            format!("/v2/team/app/blobs/uploads/?digest={digest}"),
        ),
        (
            Method::POST,
            format!("/v2/team/app/blobs/uploads/?mount={digest}"),
        ),
    ]
}

fn ruled(storage: impl Storage, rules: fn(Option<&str>, &str, Action) -> Decision) -> Registry {
    Registry::builder(storage)
        .authenticator(ByHeader)
        .authorizer(Rules(rules))
        .build()
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Returns a manifest with `{}` as config and without layers. The comment makes its digest distinct.
fn manifest(comment: &str) -> Bytes {
    let config =
        json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest().to_string(), "size": 2});
    let document = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [], "comment": comment,
    });
    document.to_string().into()
}

fn push(tag: &str, comment: &str) -> ManifestPush {
    ManifestPush::new(Tag::parse(tag).unwrap(), manifest(comment))
}

/// Fills a storage with `{}` and a tag `v1` in each of `repositories`.
async fn filled(storage: &MemoryStorage, repositories: &[&str]) {
    let registry = Registry::builder(storage.clone()).build();
    for name in repositories.iter().copied() {
        let repository = registry.repository(name).unwrap();
        repository.push_blob("{}", None).await.unwrap();
        repository.put_manifest(push("v1", "first")).await.unwrap();
    }
}
