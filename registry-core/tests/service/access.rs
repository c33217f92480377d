//! Tests of permissions, which are checked before any storage call, and of the responses to refused clients.

use crate::{ByHeader, digest, every_request, filled, ruled, send};
use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use registry_core::{
    Descriptor, Digest, Identity, Reference, Registry, RepositoryName, Storage, StorageWrite, Tag,
    auth::Decision,
    storage::{
        Abilities, BlobInfo, BlobRead, Listing, MemoryStorage, Page, ReadBlob, Referring, StorageCollect,
        StorageError, StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash,
        StoredManifest,
    },
};
use serde_json::json;

/// Storage that must not be called.
#[derive(Debug)]
struct Untouchable;

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Storage for Untouchable {
    fn abilities(&self) -> Abilities {
        Abilities::none()
    }

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
        _: Referring<'_>,
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

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        panic!("the storage was asked for inspection")
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        panic!("the storage was asked for expiry")
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        panic!("the storage was asked for collection")
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        panic!("the storage was asked for repairs")
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        panic!("the storage was asked for its health")
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        panic!("the storage was asked for its trash")
    }
}

#[tokio::test]
async fn a_refusal_comes_before_any_storage_call() {
    let registry = ruled(Untouchable, |_, _, _| Decision::Deny);
    let mut requests = every_request();
    requests.push((Method::GET, "/v2/_catalog".into()));
    for (method, target) in requests {
        let anonymous = send(&registry, None, method.clone(), &target, "").await;
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED, "{method} {target}");
        assert_eq!(
            anonymous.headers[header::WWW_AUTHENTICATE],
            "Basic realm=\"test\""
        );

        let somebody = send(&registry, Some("eve"), method.clone(), &target, "").await;
        assert_eq!(somebody.status, StatusCode::FORBIDDEN, "{method} {target}");
        if method != Method::HEAD {
            assert_eq!(
                (&*anonymous.code(), &*somebody.code()),
                ("UNAUTHORIZED", "DENIED")
            );
        }
    }
}

#[tokio::test]
async fn what_is_hidden_is_answered_like_what_does_not_exist() {
    let hidden = ruled(Untouchable, |_, _, _| Decision::DenyHidden);
    let empty = ruled(MemoryStorage::new(), |_, _, _| Decision::Allow);
    for (method, target) in every_request() {
        let refused = send(&hidden, Some("eve"), method.clone(), &target, "").await;
        // Requests that create a repository succeed for an absent one, so the answer to them is a fixed one.
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
async fn wrong_credentials_are_challenged_and_never_make_an_anonymous_client() {
    let registry = ruled(Untouchable, |_, _, _| Decision::Allow);
    for (method, target) in every_request() {
        let answer = send(&registry, Some("wrong"), method, &target, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{target}");
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
    }
}

#[tokio::test]
async fn an_anonymous_client_learns_at_the_base_that_there_is_a_login() {
    let registry = ruled(MemoryStorage::new(), |_, _, _| Decision::Allow);
    assert_eq!(
        send(&registry, None, Method::GET, "/v2/", "").await.status,
        StatusCode::UNAUTHORIZED
    );
    // `Og==` is an empty user and password, which counts as anonymous.
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
async fn without_rules_anonymous_pull_and_do_not_push() {
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
    let anonymous = repository.as_anonymous().blob(&digest()).await.unwrap_err();
    assert_eq!(anonymous.wire().0, StatusCode::UNAUTHORIZED);
}
