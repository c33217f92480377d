//! Bounds on upload sessions, names and mounts.

use super::*;

#[tokio::test]
async fn open_uploads_of_one_user() {
    let limits = {
        let mut limits = Limits::default();
        limits.uploads_of_user = 1;
        limits
    };
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(FromExtensions)
        .allow_anonymous_push()
        .limits(limits)
        .build();
    let open = async |user: Option<&str>, address: &str| {
        let mut request = Request::post("/v2/a/blobs/uploads/").body(String::new()).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ClientAddress(address));
        if let Some(user) = user {
            request.extensions_mut().insert(Identity::new(user));
        }
        send(&registry, request).await
    };

    assert_eq!(
        open(Some("ann"), "192.0.2.1:1").await.status,
        StatusCode::ACCEPTED
    );
    let refusal = open(Some("ann"), "192.0.2.2:1").await;
    assert_eq!(refusal.refusal(), refused(429, "TOOMANYREQUESTS"));
    assert!(refusal.headers.contains_key(header::RETRY_AFTER));
    assert_eq!(
        open(Some("bob"), "192.0.2.1:1").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(open(None, "192.0.2.1:1").await.status, StatusCode::ACCEPTED);
    assert_eq!(
        open(None, "192.0.2.1:2").await.refusal(),
        refused(429, "TOOMANYREQUESTS")
    );
    assert_eq!(open(None, "[2001:db8::1]:1").await.status, StatusCode::ACCEPTED);
    assert_eq!(
        open(None, "[2001:db8::2]:1").await.refusal(),
        refused(429, "TOOMANYREQUESTS")
    );
    assert_eq!(
        open(None, "[2001:db8:0:1::2]:1").await.status,
        StatusCode::ACCEPTED
    );

    // Only the totals limit the host itself.
    let repository = registry.repository("a").unwrap();
    for _ in 0..2 {
        repository.open_upload(Algorithm::Sha256).await.unwrap();
    }
}

/// Checks that a single user cannot use up a repository's limit.
#[test]
fn a_user_has_a_quarter_of_the_uploads_of_a_repository() {
    let limits = Limits::default();
    assert_eq!(limits.uploads_of_user * 4, limits.uploads_in_repository);
}

#[tokio::test]
async fn components_of_the_name_of_a_new_repository() {
    let storage = MemoryStorage::new();
    let registry = |name_components| {
        let mut limits = Limits::default();
        limits.name_components = name_components;
        Registry::builder(storage.clone())
            .limits(limits)
            .allow_anonymous_push()
            .build()
    };
    let (before, now) = (registry(4), registry(3));
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": []}).to_string();
    let put = async |registry: &Registry, name: &str| {
        let request = Request::put(format!("/v2/{name}/manifests/v1"))
            .header(header::CONTENT_TYPE, media_type)
            .body(index.clone());
        send(registry, request.unwrap()).await
    };
    let post = async |name: &str, query: &str| {
        let target = format!("/v2/{name}/blobs/uploads/{query}");
        send(&now, Request::post(target).body(String::from("{}")).unwrap()).await
    };
    let digest = Digest::of(Algorithm::Sha256, b"{}");
    let (whole, mount) = (format!("?digest={digest}"), format!("?mount={digest}&from=a/b/c"));

    assert_eq!(put(&before, "a/b/c/there").await.status, StatusCode::CREATED);
    assert_eq!(
        put(&before, "a/b/c/d/e").await.refusal(),
        refused(400, "NAME_INVALID")
    );

    for query in ["", &whole, &mount] {
        assert!(post("a/b/c", query).await.status.is_success(), "{query}");
        assert_eq!(
            post("a/b/c/new", query).await.refusal(),
            refused(400, "NAME_INVALID"),
            "{query}"
        );
        assert!(post("a/b/c/there", query).await.status.is_success(), "{query}");
    }
    assert_eq!(put(&now, "a/b/c").await.status, StatusCode::CREATED);
    assert_eq!(
        put(&now, "a/b/c/new").await.refusal(),
        refused(400, "NAME_INVALID")
    );
    assert_eq!(put(&now, "a/b/c/there").await.status, StatusCode::CREATED);
    let get = Request::get("/v2/a/b/c/there/manifests/v1")
        .body(String::new())
        .unwrap();
    assert_eq!(send(&now, get).await.status, StatusCode::OK);
    assert_eq!(Limits::default().name_components, 32);
}

#[tokio::test]
async fn open_uploads() {
    let registry = registry(|limits| {
        limits.uploads_in_repository = 2;
        limits.uploads = 3;
    });
    let open = async |name: &str, query: &str| {
        let target = format!("/v2/{name}/blobs/uploads/{query}");
        send(&registry, Request::post(target).body(String::from("{}")).unwrap()).await
    };
    let digest = Digest::of(Algorithm::Sha256, b"{}");

    let first = open("a", "").await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(open("a", "").await.status, StatusCode::ACCEPTED);
    let refusal = open("a", "").await;
    assert_eq!(refusal.refusal(), refused(429, "TOOMANYREQUESTS"));
    assert!(refusal.headers.contains_key(header::RETRY_AFTER));
    let mount = format!("?mount={digest}&from=b");
    assert_eq!(
        open("a", &mount).await.refusal(),
        refused(429, "TOOMANYREQUESTS"),
        "it would be a session"
    );
    assert_eq!(open("b", "").await.status, StatusCode::ACCEPTED);
    assert_eq!(open("b", "").await.refusal(), refused(429, "TOOMANYREQUESTS"));
    assert_eq!(
        open("b", &format!("?digest={digest}")).await.status,
        StatusCode::CREATED
    );
    assert_eq!(
        open("a", &mount).await.status,
        StatusCode::CREATED,
        "it is no session"
    );

    let location = first.headers[header::LOCATION].to_str().unwrap();
    let cancel = Request::delete(location).body(String::new()).unwrap();
    assert_eq!(send(&registry, cancel).await.status, StatusCode::NO_CONTENT);
    assert_eq!(open("b", "").await.status, StatusCode::ACCEPTED);
}

/// Allows everybody to push, and to pull from `d`, and records the repositories of requested pulls.
#[derive(Debug, Default)]
struct OnlyFromD(Mutex<Vec<String>>);

#[async_trait]
impl Authorizer for OnlyFromD {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let access = ask.access;
        let repository = access.repository.as_ref().map_or("", RepositoryName::as_str);
        if access.action == Action::Push {
            return Ok(Decision::Allow);
        }
        self.0.lock().unwrap().push(repository.to_owned());
        Ok(if repository == "d" {
            Decision::Allow
        } else {
            Decision::DenyHidden
        })
    }
}

#[tokio::test]
async fn mount_candidates() {
    for (bound, status, asked) in [
        (3, StatusCode::ACCEPTED, &["a", "b", "c"][..]),
        (4, StatusCode::CREATED, &["a", "b", "c", "d"]),
        (9, StatusCode::CREATED, &["a", "b", "c", "d"]),
    ] {
        let storage = MemoryStorage::new();
        let host = Registry::builder(storage.clone()).build();
        let mut digest = None;
        for name in ["e", "d", "c", "b", "a"] {
            let pushed = host
                .repository(name)
                .unwrap()
                .push_blob("{}", None)
                .await
                .unwrap();
            digest = Some(pushed.digest);
        }
        let rules = Arc::new(OnlyFromD::default());
        let mut limits = Limits::default();
        limits.mount_candidates = bound;
        let registry = Registry::builder(storage)
            .limits(limits)
            .authorizer(Arc::clone(&rules))
            .build();

        let target = format!("/v2/to/blobs/uploads/?mount={}", digest.unwrap());
        let answer = send(&registry, Request::post(target).body(String::new()).unwrap()).await;

        assert_eq!(answer.status, status, "{bound}");
        assert_eq!(
            *rules.0.lock().unwrap(),
            asked,
            "one by one, in order, and no more than {bound}"
        );
    }
}
