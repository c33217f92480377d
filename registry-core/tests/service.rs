//! The service over `MemoryStorage`, without sockets: who may do what, what hooks see, what a client learns.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use registry_core::{
    Action, Algorithm, Authenticator, Authorizer, Descriptor, Digest, Hooks, Identity, MediaType, Reference,
    Registry, RepositoryName, Storage, StorageWrite, Tag,
    auth::{Access, AuthError, AuthRequest, Challenge, Decision},
    hooks::{Context, Event, Veto},
    protocol::{Answer, PageQuery},
    service::ManifestPush,
    storage::{
        BlobInfo, BlobRead, Listing, MemoryStorage, Page, PutManifest, ReadBlob, StorageError, StoredManifest,
    },
};
use serde_json::{Value, json};
use std::{
    io,
    sync::{Arc, Mutex},
};

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

/// Sends a request as `user`, whom [`ByHeader`] believes.
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

/// Believes whatever name stands in `Authorization`, except `wrong`.
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

    fn challenges(&self) -> Vec<Challenge> {
        vec![Challenge::Basic { realm: "test".into() }]
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
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError> {
        let repository = access.repository.as_ref().map_or("", RepositoryName::as_str);
        Ok((self.0)(
            who.map(|identity| &*identity.subject),
            repository,
            access.action,
        ))
    }
}

/// A storage that must not be asked.
#[derive(Debug)]
struct Untouchable;

#[async_trait]
impl Storage for Untouchable {
    async fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<BlobInfo>, StorageError> {
        panic!("the storage was asked for a blob")
    }

    async fn open_blob(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: ReadBlob,
    ) -> Result<Option<BlobRead>, StorageError> {
        panic!("the storage was asked to open a blob")
    }

    async fn manifest(
        &self,
        _: &RepositoryName,
        _: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        panic!("the storage was asked for a manifest")
    }

    async fn tags(&self, _: &RepositoryName, _: Page<'_, Tag>) -> Result<Option<Listing<Tag>>, StorageError> {
        panic!("the storage was asked for tags")
    }

    async fn referrers(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: Option<&MediaType>,
        _: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>, StorageError> {
        panic!("the storage was asked for referrers")
    }

    async fn repositories(
        &self,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>, StorageError> {
        panic!("the storage was asked for repositories")
    }

    async fn holders(
        &self,
        _: &Digest,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>, StorageError> {
        panic!("the storage was asked for holders")
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        panic!("the storage was asked to write")
    }
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"{}")
}

/// Every endpoint and method that concerns a repository.
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

/// A manifest with nothing in it but `{}` as config, and a comment that makes it another.
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

/// With `{}` and a tag `v1` in each of `repositories`.
async fn filled(storage: &MemoryStorage, repositories: &[&str]) {
    let registry = Registry::builder(storage.clone()).build();
    for name in repositories {
        let repository = registry.repository(name).unwrap();
        repository.push_blob(String::from("{}"), None).await.unwrap();
        repository.put_manifest(push("v1", "first")).await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_comes_before_any_storage_call() {
    let registry = ruled(Untouchable, |_, _, _| Decision::Deny);
    let mut requests = every_request();
    requests.push((Method::GET, "/v2/_catalog".into()));
    for (method, target) in requests {
        let stranger = send(&registry, None, method.clone(), &target, "").await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED, "{method} {target}");
        assert_eq!(stranger.headers[header::WWW_AUTHENTICATE], "Basic realm=\"test\"");

        let somebody = send(&registry, Some("eve"), method.clone(), &target, "").await;
        assert_eq!(somebody.status, StatusCode::FORBIDDEN, "{method} {target}");
        if method != Method::HEAD {
            assert_eq!((&*stranger.code(), &*somebody.code()), ("UNAUTHORIZED", "DENIED"));
        }
    }
}

#[tokio::test]
async fn read_only_nobody_changes_anything_but_the_host() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let registry = Registry::builder(storage)
        .allow_anonymous_push()
        .read_only()
        .build();
    for (method, target) in every_request() {
        let answer = send(&registry, None, method.clone(), &target, "").await;
        if matches!(method, Method::GET | Method::HEAD) && !target.contains("/uploads/") {
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {target}");
        } else {
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {target}");
        }
    }
    let repository = registry.repository("a").unwrap();
    repository.push_blob(String::from("more"), None).await.unwrap();
}

#[tokio::test]
async fn what_may_be_kept_is_said() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let blob = format!("/v2/a/blobs/{}", Digest::of(Algorithm::Sha256, b"{}"));
    let open = Registry::builder(storage.clone()).build();
    let closed = ruled(storage, |_, _, _| Decision::Allow);
    for (registry, target, expected) in [
        (&open, &*blob, Some("max-age=31536000")),
        (&closed, &*blob, Some("private, max-age=31536000")),
        (&open, "/v2/a/manifests/v1", Some("no-cache")),
        (&open, "/v2/a/tags/list", Some("no-cache")),
        (&open, "/v2/_catalog", Some("no-cache")),
        (&open, "/v2/a/manifests/v2", None),
    ] {
        let answer = send(registry, Some("ann"), Method::GET, target, "").await;
        let said = answer.headers.get(header::CACHE_CONTROL);
        assert_eq!(said.map(|value| value.to_str().unwrap()), expected, "{target}");
    }
}

#[tokio::test]
async fn an_answer_knows_who_asked() {
    let registry = ruled(MemoryStorage::new(), |_, _, _| Decision::Allow);
    let ask = |user| {
        let request = Request::get("/v2/_catalog").header(header::AUTHORIZATION, user);
        registry.handle(request.body(String::new()).unwrap())
    };
    let answer = ask("ann").await;
    assert_eq!(answer.extensions().get(), Some(&Identity::new("ann")));
    assert!(ask("wrong").await.extensions().get::<Identity>().is_none());
}

#[tokio::test]
async fn without_deletion_nobody_deletes_but_the_host() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let registry = Registry::builder(storage)
        .allow_anonymous_push()
        .without_deletion()
        .build();
    let blob = Digest::of(Algorithm::Sha256, b"{}");
    for target in ["/v2/a/manifests/v1".to_owned(), format!("/v2/a/blobs/{blob}")] {
        let refused = send(&registry, None, Method::DELETE, &target, "").await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            "{target}"
        );
    }
    let repository = registry.repository("a").unwrap();
    let v1 = Reference::Tag(Tag::parse("v1").unwrap());
    assert!(repository.delete_manifest(&v1).await.unwrap());
}

#[tokio::test]
async fn what_is_hidden_is_answered_like_what_does_not_exist() {
    let hidden = ruled(Untouchable, |_, _, _| Decision::DenyHidden);
    let empty = ruled(MemoryStorage::new(), |_, _, _| Decision::Allow);
    for (method, target) in every_request() {
        let refused = send(&hidden, Some("eve"), method.clone(), &target, "").await;
        // What would make the repository has no such answer; a repository that does not exist cannot be added to.
        if method == Method::POST || (method == Method::PUT && target.contains("/manifests/")) {
            assert_eq!(
                (refused.status, &*refused.code()),
                (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
                "{target}"
            );
            continue;
        }
        let absent = send(&empty, Some("eve"), method.clone(), &target, "").await;
        assert_eq!(refused.status, absent.status, "{method} {target}");
        assert_eq!(refused.headers, absent.headers, "{method} {target}");
        assert_eq!(refused.body, absent.body, "{method} {target}");
    }
    let catalog = send(&hidden, Some("eve"), Method::GET, "/v2/_catalog", "").await;
    assert_eq!(catalog.json(), json!({"repositories": []}));
}

#[tokio::test]
async fn wrong_credentials_are_challenged_and_never_make_a_stranger() {
    let registry = ruled(Untouchable, |_, _, _| Decision::Allow);
    for (method, target) in every_request() {
        let answer = send(&registry, Some("wrong"), method, &target, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{target}");
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
}

#[tokio::test]
async fn a_stranger_learns_at_the_base_that_there_is_a_login() {
    let registry = ruled(MemoryStorage::new(), |_, _, _| Decision::Allow);
    assert_eq!(
        send(&registry, None, Method::GET, "/v2/", "").await.status,
        StatusCode::UNAUTHORIZED
    );
    // `Og==` is an empty user and password: nobody.
    assert_eq!(
        send(&registry, Some("Basic Og=="), Method::GET, "/v2/", "")
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
    let welcome = send(&registry, Some("ann"), Method::GET, "/v2/", "").await;
    assert_eq!((welcome.status, &*welcome.body), (StatusCode::OK, &b"{}"[..]));
    assert!(!welcome.headers.contains_key(header::WWW_AUTHENTICATE));

    let open = Registry::builder(MemoryStorage::new()).build();
    assert_eq!(
        send(&open, None, Method::GET, "/v2/", "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn without_rules_strangers_pull_and_do_not_push() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let open = Registry::builder(storage.clone()).build();
    let with_login = Registry::builder(storage.clone()).authenticator(ByHeader).build();
    let pushes = Registry::builder(storage).allow_anonymous_push().build();

    let pull = "/v2/team/app/manifests/v1";
    let push = "/v2/team/app/blobs/uploads/";
    for (registry, user, pulled, pushed) in [
        (&open, None, StatusCode::OK, StatusCode::FORBIDDEN),
        (
            &with_login,
            None,
            StatusCode::UNAUTHORIZED,
            StatusCode::UNAUTHORIZED,
        ),
        (&with_login, Some("ann"), StatusCode::OK, StatusCode::ACCEPTED),
        (&pushes, None, StatusCode::OK, StatusCode::ACCEPTED),
    ] {
        assert_eq!(send(registry, user, Method::GET, pull, "").await.status, pulled);
        assert_eq!(send(registry, user, Method::POST, push, "").await.status, pushed);
    }
}

#[tokio::test]
async fn a_mount_asks_for_pull_on_its_source_and_degrades_to_a_session() {
    let storage = MemoryStorage::new();
    filled(&storage, &["secret", "shared"]).await;
    let registry = ruled(storage, |_, repository, action| match (repository, action) {
        ("secret", _) => Decision::Deny,
        _ => Decision::Allow,
    });
    let digest = digest();
    let mount = async |from: &str| {
        let target = format!("/v2/mine/blobs/uploads/?mount={digest}{from}");
        send(&registry, Some("ann"), Method::POST, &target, "").await
    };

    let refused = mount("&from=secret").await;
    assert_eq!(refused.status, StatusCode::ACCEPTED);
    assert!(
        refused.headers[header::LOCATION]
            .to_str()
            .unwrap()
            .starts_with("/v2/mine/blobs/uploads/")
    );
    let blob = format!("/v2/mine/blobs/{digest}");
    assert_eq!(
        send(&registry, Some("ann"), Method::GET, &blob, "").await.status,
        StatusCode::NOT_FOUND
    );

    // Without a source the holders are tried one by one: `secret` is refused, `shared` is not.
    let mounted = mount("").await;
    assert_eq!(mounted.status, StatusCode::CREATED);
    assert_eq!(mounted.headers[header::LOCATION], blob);
    assert_eq!(
        send(&registry, Some("ann"), Method::GET, &blob, "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_catalog_shows_what_may_be_pulled_and_links_to_nothing_else() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a", "hidden-1", "hidden-2", "m", "z", "zz-hidden"]).await;
    let registry = ruled(storage, |_, repository, _| {
        if repository.contains("hidden") {
            Decision::Deny
        } else {
            Decision::Allow
        }
    });

    let mut target = "/v2/_catalog?n=1".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = send(&registry, Some("ann"), Method::GET, &target, "").await;
        assert_eq!(page.status, StatusCode::OK);
        seen.extend(page.json()["repositories"].as_array().unwrap().clone());
        match Answer::new(page.status, &page.headers).next() {
            Some(next) => target = next.to_owned(),
            None => break,
        }
        assert!(!target.contains("hidden"), "{target}");
    }
    assert_eq!(seen, ["a", "m", "z"]);
}

#[tokio::test]
async fn who_may_push_but_not_overwrite_moves_no_tag_that_exists() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = ruled(storage, |_, _, action| {
        if action == Action::Overwrite {
            Decision::Deny
        } else {
            Decision::Allow
        }
    });
    let put = async |tag: &str, comment: &str| {
        let request = Request::put(format!("/v2/team/app/manifests/{tag}"))
            .header(header::AUTHORIZATION, "ann")
            .header(header::CONTENT_TYPE, IMAGE)
            .body(http_body_util::Full::new(manifest(comment)));
        registry.handle(request.unwrap()).await.status()
    };

    assert_eq!(put("v1", "first").await, StatusCode::CREATED, "the same again");
    assert_eq!(put("v1", "second").await, StatusCode::FORBIDDEN);
    assert_eq!(put("v2", "second").await, StatusCode::CREATED, "a new tag");

    let repository = registry.repository("team/app").unwrap();
    let v1 = repository
        .manifest(&Tag::parse("v1").unwrap().into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(v1.bytes, manifest("first"));
}

#[tokio::test]
async fn preconditions_move_a_tag_only_from_where_it_is_expected() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = Registry::builder(storage).allow_anonymous_push().build();
    let first = Digest::of(Algorithm::Sha256, &manifest("first"));
    let put = async |name: header::HeaderName, value: String, comment: &str| {
        let request = Request::put("/v2/team/app/manifests/v1")
            .header(header::CONTENT_TYPE, IMAGE)
            .header(name, value)
            .body(http_body_util::Full::new(manifest(comment)));
        registry.handle(request.unwrap()).await.status()
    };

    assert_eq!(
        put(header::IF_NONE_MATCH, "*".into(), "second").await,
        StatusCode::PRECONDITION_FAILED
    );
    assert_eq!(
        put(header::IF_MATCH, format!("\"{first}\""), "second").await,
        StatusCode::CREATED
    );
    assert_eq!(
        put(header::IF_MATCH, format!("\"{first}\""), "third").await,
        StatusCode::PRECONDITION_FAILED
    );
}

#[tokio::test]
async fn the_host_acts_with_its_own_authority_or_as_somebody() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = ruled(storage, |who, _, _| {
        if who == Some("ann") {
            Decision::Allow
        } else {
            Decision::Deny
        }
    });
    let repository = registry.repository("team/app").unwrap();

    assert!(repository.blob(&digest()).await.unwrap().is_some());
    assert!(
        repository
            .clone()
            .as_identity(Identity::new("ann"))
            .blob(&digest())
            .await
            .unwrap()
            .is_some()
    );
    let eve = repository
        .clone()
        .as_identity(Identity::new("eve"))
        .blob(&digest())
        .await
        .unwrap_err();
    assert_eq!(eve.wire().0, StatusCode::FORBIDDEN);
    let stranger = repository.as_stranger().blob(&digest()).await.unwrap_err();
    assert_eq!(stranger.wire().0, StatusCode::UNAUTHORIZED);
}

/// Keeps what it is told, and refuses what it is asked to.
#[derive(Clone, Debug, Default)]
struct Recorder {
    events: Arc<Mutex<Vec<String>>>,
    refuse: Option<&'static str>,
}

impl Recorder {
    fn veto(&self, what: &str) -> Result<(), Veto> {
        match self.refuse {
            Some(refused) if refused == what => Err(Veto::new(format!("no {what} on Fridays"))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Hooks for Recorder {
    async fn before_put_manifest(&self, _: &Context<'_>, _: &PutManifest) -> Result<(), Veto> {
        self.veto("manifest")
    }

    async fn before_add_blob(&self, _: &Context<'_>, _: &Digest, _: Option<u64>) -> Result<(), Veto> {
        self.veto("blob")
    }

    async fn before_delete_manifest(&self, _: &Context<'_>, _: &Reference) -> Result<(), Veto> {
        self.veto("delete")
    }

    fn event(&self, context: &Context<'_>, event: &Event<'_>) {
        let who = context.identity.map_or("host", |identity| &identity.subject);
        let what = match event {
            Event::ManifestPushed { tags, .. } => {
                let tags: Vec<String> = tags
                    .iter()
                    .map(|moved| format!("{} after {}", moved.tag, moved.previous.is_some()))
                    .collect();
                format!("pushed {}", tags.join(","))
            }
            Event::ManifestDeleted { tags, .. } => format!("deleted {tags:?}"),
            Event::TagDeleted { tag, .. } => format!("untagged {tag}"),
            Event::BlobPushed { size, .. } => format!("blob of {size}"),
            Event::BlobMounted { from, .. } => format!("mounted from {from}"),
            Event::BlobDeleted { .. } => "blob deleted".into(),
            other => format!("{other:?}")
                .chars()
                .take_while(|c| c.is_alphanumeric())
                .collect(),
        };
        self.events
            .lock()
            .unwrap()
            .push(format!("{who} {}: {what}", context.repository));
    }
}

#[tokio::test]
async fn hooks_are_told_what_happened_and_who_did_it() {
    let hooks = Recorder::default();
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(hooks.clone())
        .build();
    let app = registry
        .repository("app")
        .unwrap()
        .as_identity(Identity::new("ann"));

    app.push_blob(String::from("{}"), None).await.unwrap();
    let first = app.put_manifest(push("v1", "first")).await.unwrap();
    app.put_manifest(push("v1", "second")).await.unwrap();
    app.delete_manifest(&Tag::parse("v1").unwrap().into())
        .await
        .unwrap();
    app.delete_manifest(&first.digest.into()).await.unwrap();
    let other = registry.repository("other").unwrap();
    other.mount(&digest(), None).await.unwrap();
    app.delete_blob(&digest()).await.unwrap();
    app.delete_blob(&digest()).await.unwrap();

    assert_eq!(
        *hooks.events.lock().unwrap(),
        [
            "ann app: blob of 2",
            "ann app: pushed v1 after false",
            "ann app: pushed v1 after true",
            "ann app: untagged v1",
            "ann app: deleted []",
            "host other: mounted from app",
            "ann app: blob deleted",
        ]
    );
}

#[tokio::test]
async fn a_veto_is_read_by_the_client_and_leaves_nothing() {
    for refused in ["blob", "manifest", "delete"] {
        let storage = MemoryStorage::new();
        filled(&storage, &["app"]).await;
        let hooks = Recorder {
            refuse: Some(refused),
            ..Recorder::default()
        };
        let registry = Registry::builder(storage)
            .hooks(hooks.clone())
            .allow_anonymous_push()
            .build();
        let repository = registry.repository("app").unwrap();
        let answer = match refused {
            "blob" => {
                let opened = send(&registry, None, Method::POST, "/v2/app/blobs/uploads/", "").await;
                let session = opened.headers[header::LOCATION].to_str().unwrap();
                let digest = Digest::of(Algorithm::Sha256, b"new");
                let answer = send(
                    &registry,
                    None,
                    Method::PUT,
                    &format!("{session}?digest={digest}"),
                    "new",
                )
                .await;
                assert!(repository.blob(&digest).await.unwrap().is_none());
                let gone = send(&registry, None, Method::GET, session, "").await;
                assert_eq!(gone.status, StatusCode::NOT_FOUND, "the session is ended");
                answer
            }
            "manifest" => {
                let body = String::from_utf8(manifest("second").to_vec()).unwrap();
                let answer = send(&registry, None, Method::PUT, "/v2/app/manifests/v2", &body).await;
                assert!(
                    repository
                        .manifest(&Tag::parse("v2").unwrap().into())
                        .await
                        .unwrap()
                        .is_none()
                );
                answer
            }
            _ => {
                let answer = send(&registry, None, Method::DELETE, "/v2/app/manifests/v1", "").await;
                assert!(
                    repository
                        .manifest(&Tag::parse("v1").unwrap().into())
                        .await
                        .unwrap()
                        .is_some()
                );
                answer
            }
        };
        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::FORBIDDEN, "DENIED"),
            "{refused}"
        );
        assert_eq!(answer.message(), format!("no {refused} on Fridays"));
        assert!(hooks.events.lock().unwrap().is_empty());
    }
}

/// Reads, and fails or is full.
#[derive(Debug)]
struct Broken(io::ErrorKind);

impl Broken {
    fn error(&self) -> StorageError {
        StorageError::io("/secret/path", io::Error::new(self.0, "secret cause"))
    }
}

#[async_trait]
impl Storage for Broken {
    async fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<BlobInfo>, StorageError> {
        Err(self.error())
    }

    async fn open_blob(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: ReadBlob,
    ) -> Result<Option<BlobRead>, StorageError> {
        Err(self.error())
    }

    async fn manifest(
        &self,
        _: &RepositoryName,
        _: &Reference,
    ) -> Result<Option<StoredManifest>, StorageError> {
        Err(self.error())
    }

    async fn tags(&self, _: &RepositoryName, _: Page<'_, Tag>) -> Result<Option<Listing<Tag>>, StorageError> {
        Err(self.error())
    }

    async fn referrers(
        &self,
        _: &RepositoryName,
        _: &Digest,
        _: Option<&MediaType>,
        _: Page<'_, Digest>,
    ) -> Result<Listing<Descriptor>, StorageError> {
        Err(self.error())
    }

    async fn repositories(
        &self,
        _: Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>, StorageError> {
        Err(self.error())
    }
}

#[tokio::test]
async fn an_outage_is_no_absence_and_its_cause_is_not_for_clients() {
    for (kind, status, code) in [
        (io::ErrorKind::Other, StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN"),
        (io::ErrorKind::StorageFull, StatusCode::FORBIDDEN, "DENIED"),
    ] {
        let registry = Registry::builder(Broken(kind)).allow_anonymous_push().build();
        let reads = every_request()
            .into_iter()
            .filter(|(method, target)| *method == Method::GET && !target.contains("uploads"));
        for (method, target) in reads.chain([(Method::GET, "/v2/_catalog".to_owned())]) {
            let answer = send(&registry, None, method, &target, "").await;
            assert_eq!((answer.status, &*answer.code()), (status, code), "{target}");
            assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
        }
    }
}

#[tokio::test]
async fn a_storage_without_a_writing_plane_is_read_only() {
    let registry = Registry::builder(Broken(io::ErrorKind::Other))
        .allow_anonymous_push()
        .build();
    for (method, target) in every_request() {
        if method == Method::GET && !target.contains("uploads") || method == Method::HEAD {
            continue;
        }
        let answer = send(&registry, None, method.clone(), &target, "").await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            "{method} {target}"
        );
        assert!(answer.headers.contains_key(header::ALLOW));
    }
}

#[tokio::test]
async fn sparse_indexes_are_a_choice() {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [{"mediaType": IMAGE, "digest": digest().to_string(), "size": 2}],
    });
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), index.to_string());

    let strict = Registry::builder(MemoryStorage::new())
        .build()
        .repository("a")
        .unwrap();
    let sparse = Registry::builder(MemoryStorage::new())
        .allow_sparse_indexes()
        .build()
        .repository("a")
        .unwrap();

    assert_eq!(
        strict
            .put_manifest(push.clone())
            .await
            .unwrap_err()
            .wire()
            .1
            .as_str(),
        "MANIFEST_BLOB_UNKNOWN"
    );
    assert!(sparse.put_manifest(push).await.is_ok());
    assert_eq!(
        sparse
            .tags(&PageQuery::default())
            .await
            .unwrap()
            .unwrap()
            .items
            .len(),
        1
    );
}

#[tokio::test]
async fn a_close_whose_answer_was_lost_can_be_repeated() {
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();
    let opened = send(&registry, None, Method::POST, "/v2/a/blobs/uploads/", "").await;
    let close = format!(
        "{}?digest={}",
        opened.headers[header::LOCATION].to_str().unwrap(),
        digest()
    );

    for _ in 0..2 {
        assert_eq!(
            send(&registry, None, Method::PUT, &close, "{}").await.status,
            StatusCode::CREATED
        );
    }
    let other = close.replace("/v2/a/", "/v2/b/");
    let elsewhere = send(&registry, None, Method::PUT, &other, "{}").await;
    assert_eq!(
        (elsewhere.status, &*elsewhere.code()),
        (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN")
    );
}
