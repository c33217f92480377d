//! Tests of registries by host: choice, isolation of tenants, refusals and outages.

use crate::{ByHeader, digest, every_request, filled, manifest};
use async_trait::async_trait;
use http::{Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use registry_core::{
    Authenticator, BoxError, Identity, Registry,
    auth::{Access, AuthError, AuthRequest, Challenge},
    service::{ByHost, HostName, HostTable, Hosts},
    storage::MemoryStorage,
};
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use tower_service::Service as _;

type Body = Full<bytes::Bytes>;

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

/// Returns a registry in which `repository` has the tag `v1`.
async fn tenant(repository: &str) -> Registry {
    let storage = MemoryStorage::new();
    filled(&storage, &[repository]).await;
    Registry::builder(storage).allow_anonymous_push().build()
}

/// Returns registries at `a.example` and `b.example`, which hold `team/app` and `other/app`.
async fn two() -> ByHost {
    ByHost::new(HostTable::from_iter([
        (host("a.example"), tenant("team/app").await),
        (host("b.example"), tenant("other/app").await),
    ]))
}

fn to(host: &str, method: Method, target: &str) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host);
    request.body(Body::default()).unwrap()
}

fn get(host: &str, target: &str) -> Request<Body> {
    to(host, Method::GET, target)
}

async fn answer(by_host: &ByHost, request: Request<Body>) -> (StatusCode, Value) {
    let response = by_host.handle(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// Returns the repositories that a request for the catalog lists.
async fn catalog(by_host: &ByHost, request: Request<Body>) -> Vec<String> {
    let (status, body) = answer(by_host, request).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    serde_json::from_value(body["repositories"].clone()).unwrap()
}

#[tokio::test]
async fn a_tenant_sees_only_its_own_repositories() {
    let by_host = two().await;

    assert_eq!(
        catalog(&by_host, get("a.example", "/v2/_catalog")).await,
        ["team/app"]
    );
    assert_eq!(
        catalog(&by_host, get("B.Example:5000", "/v2/_catalog")).await,
        ["other/app"]
    );
    let foreign = answer(&by_host, get("b.example", "/v2/team/app/manifests/v1")).await;
    assert_eq!(foreign.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn repositories_of_one_name_are_two_and_no_blob_is_mounted_from_another_tenant() {
    let by_host = ByHost::new(HostTable::from_iter([
        (host("a.example"), tenant("team/app").await),
        (
            host("b.example"),
            Registry::builder(MemoryStorage::new())
                .allow_anonymous_push()
                .build(),
        ),
    ]));
    let mount = format!("/v2/team/copy/blobs/uploads/?mount={}&from=team/app", digest());

    let (own, _) = answer(&by_host, to("a.example", Method::POST, &mount)).await;
    let (foreign, _) = answer(&by_host, to("b.example", Method::POST, &mount)).await;

    assert_eq!(own, StatusCode::CREATED);
    // The client has to send the bytes.
    assert_eq!(foreign, StatusCode::ACCEPTED);
    let put = Request::put("/v2/team/app/manifests/v1").header(header::HOST, "b.example");
    let put = put.body(Full::new(manifest("first"))).unwrap();
    let (status, body) = answer(&by_host, put).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(body["errors"][0]["code"], "MANIFEST_BLOB_UNKNOWN");
}

#[tokio::test]
async fn the_target_of_a_request_counts_before_its_host_header() {
    let by_host = two().await;
    let absolute = get("a.example", "http://b.example:80/v2/_catalog");
    let mut authority = Request::get("https://b.example/v2/_catalog")
        .body(Body::default())
        .unwrap();
    *authority.version_mut() = Version::HTTP_2;

    assert_eq!(catalog(&by_host, absolute).await, ["other/app"]);
    assert_eq!(catalog(&by_host, authority).await, ["other/app"]);
}

#[tokio::test]
async fn a_request_that_names_two_hosts_or_none_is_refused() {
    let by_host = two().await;
    let mut disagreeing = get("a.example", "https://b.example/v2/");
    *disagreeing.version_mut() = Version::HTTP_2;
    let mut twice = get("a.example", "/v2/");
    twice
        .headers_mut()
        .append(header::HOST, "a.example".parse().unwrap());
    let no_host = Request::get("/v2/").body(Body::default()).unwrap();

    for (request, status) in [
        (disagreeing, 400),
        (twice, 400),
        (get("ann@a.example", "/v2/"), 400),
        (get("bücher.example", "/v2/"), 400),
        (get("", "/v2/"), 421),
        (no_host, 421),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(answer(&by_host, request).await.0, status, "{shown}");
    }
}

#[tokio::test]
async fn an_unknown_host_gets_one_answer_for_every_request() {
    let by_host = two().await;
    for (method, target) in every_request() {
        let head = method == Method::HEAD;

        let (status, body) = answer(&by_host, to("c.example", method.clone(), &target)).await;

        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{method} {target}");
        if !head {
            let expected = serde_json::json!({"errors": [{
                "code": "NAME_UNKNOWN",
                "message": "no registry is served at this host; check the name, and the Host header that proxies send",
            }]});
            assert_eq!(body, expected, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn the_default_serves_unknown_hosts_and_requests_without_a_host() {
    let by_host = two().await.with_default(tenant("default/app").await);
    let no_host = Request::get("/v2/_catalog").body(Body::default()).unwrap();

    assert_eq!(
        catalog(&by_host, get("c.example", "/v2/_catalog")).await,
        ["default/app"]
    );
    assert_eq!(catalog(&by_host, no_host).await, ["default/app"]);
    assert_eq!(
        catalog(&by_host, get("a.example", "/v2/_catalog")).await,
        ["team/app"]
    );
}

#[tokio::test]
async fn a_forwarded_host_counts_only_if_it_is_trusted() {
    let by_host = two().await;
    let forwarded = |hosts: &str| {
        let mut request = get("a.example", "/v2/_catalog");
        let headers = request.headers_mut();
        headers.insert("x-forwarded-host", hosts.parse().unwrap());
        request
    };

    assert_eq!(catalog(&by_host, forwarded("b.example")).await, ["team/app"]);

    let by_host = by_host.trust_forwarded_host();
    assert_eq!(
        catalog(&by_host, forwarded("b.example:443, proxy")).await,
        ["other/app"]
    );
    assert_eq!(
        catalog(&by_host, get("a.example", "/v2/_catalog")).await,
        ["team/app"]
    );
    assert_eq!(
        answer(&by_host, forwarded("a/b")).await.0,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(answer(&by_host, forwarded("")).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_host_in_the_extensions_counts_before_all_others() {
    let by_host = two().await.trust_forwarded_host();
    let mut request = get("a.example", "/v2/_catalog");
    request
        .headers_mut()
        .insert("x-forwarded-host", "a.example".parse().unwrap());
    request.extensions_mut().insert(host("b.example"));

    assert_eq!(catalog(&by_host, request).await, ["other/app"]);
}

#[tokio::test]
async fn tenants_come_and_go_while_the_service_runs() {
    let table = HostTable::new();
    let by_host = ByHost::new(table.clone());
    assert_eq!(
        answer(&by_host, get("a.example", "/v2/")).await.0,
        StatusCode::MISDIRECTED_REQUEST
    );

    assert!(
        table
            .insert(host("a.example"), tenant("team/app").await)
            .is_none()
    );
    assert_eq!(table.hosts(), [host("a.example")]);
    assert_eq!(answer(&by_host, get("a.example", "/v2/")).await.0, StatusCode::OK);

    assert!(table.remove(&host("a.example")).is_some());
    assert_eq!(
        answer(&by_host, get("a.example", "/v2/")).await.0,
        StatusCode::MISDIRECTED_REQUEST
    );
}

#[tokio::test]
async fn of_two_registries_for_one_host_the_first_stays() {
    let table = HostTable::new();
    let first = table.get_or_insert(host("a.example"), tenant("first/app").await);
    let second = table.get_or_insert(host("a.example"), tenant("second/app").await);

    for registry in [first, second] {
        let names = registry.repositories(&Default::default()).await.unwrap().items;
        assert_eq!(
            names.iter().map(AsRef::<str>::as_ref).collect::<Vec<_>>(),
            ["first/app"]
        );
    }
}

/// A lookup that fails.
#[derive(Debug)]
struct Outage;

#[async_trait]
impl Hosts for Outage {
    async fn registry(&self, _: &HostName) -> Result<Option<Registry>, BoxError> {
        Err("secret: the database is down".into())
    }
}

#[tokio::test]
async fn an_outage_of_the_lookup_is_a_503_also_with_a_default() {
    let without = ByHost::new(Outage);
    let with = ByHost::new(Arc::new(Outage)).with_default(tenant("default/app").await);
    for by_host in [without, with] {
        let (status, body) = answer(&by_host, get("a.example", "/v2/team/app/manifests/v1")).await;

        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["errors"][0]["code"], "UNAVAILABLE");
        assert!(!body.to_string().contains("secret"), "{body}");
    }
}

/// Identifies nobody, and offers the token endpoint of the host of the request.
#[derive(Debug)]
struct Shared;

#[async_trait]
impl Authenticator for Shared {
    async fn authenticate(&self, _: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        Ok(None)
    }

    fn challenges(&self, request: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        let host: &HostName = request.and_then(|request| request.extensions.get()).unwrap();
        vec![Challenge::bearer(format!("https://{host}/token"), host.as_str())]
    }
}

#[tokio::test]
async fn challenges_and_locations_stay_at_the_host_of_the_tenant() {
    let shared = || {
        Registry::builder(MemoryStorage::new())
            .authenticator(Shared)
            .build()
    };
    let external = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .external_url("https://c.example/images")
        .unwrap()
        .build();
    let by_host = ByHost::new(HostTable::from_iter([
        (host("a.example"), shared()),
        (host("b.example"), shared()),
        (host("c.example"), external),
        (host("d.example"), tenant("team/app").await),
    ]));

    for name in ["a.example", "b.example"] {
        let response = by_host.handle(get(name, "/v2/")).await;
        let challenge = response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
        assert!(
            challenge.contains(&format!("realm=\"https://{name}/token\",service=\"{name}\"")),
            "{challenge}"
        );
    }
    for (name, start) in [
        ("c.example", "https://c.example/images/v2/team/app/"),
        ("d.example", "/v2/team/app/"),
    ] {
        let response = by_host
            .handle(to(name, Method::POST, "/v2/team/app/blobs/uploads/"))
            .await;
        let location = response.headers()[header::LOCATION].to_str().unwrap();
        assert!(location.starts_with(start), "{location}");
    }
}

#[tokio::test]
async fn a_login_of_one_tenant_is_none_at_another() {
    let users = Registry::builder(MemoryStorage::new())
        .authenticator(ByHeader)
        .build();
    let by_host = ByHost::new(HostTable::from_iter([
        (host("a.example"), users),
        (host("b.example"), Registry::builder(MemoryStorage::new()).build()),
    ]));
    for (name, status) in [
        ("a.example", StatusCode::ACCEPTED),
        ("b.example", StatusCode::FORBIDDEN),
    ] {
        let mut request = to(name, Method::POST, "/v2/team/app/blobs/uploads/");
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, "ann".parse().unwrap());

        assert_eq!(answer(&by_host, request).await.0, status, "{name}");
    }
}

#[tokio::test]
async fn as_a_service_every_change_is_a_task_and_no_read_is() {
    let by_host = two().await;
    for (method, target) in every_request() {
        let tasks = Arc::new(AtomicUsize::new(0));
        let spawning = Arc::clone(&tasks);
        let mut service = by_host.clone().into_service(move |task| {
            spawning.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(task);
        });

        let response = service
            .call(to("a.example", method.clone(), &target))
            .await
            .unwrap();

        assert_ne!(response.status(), StatusCode::MISDIRECTED_REQUEST);
        let reads = [Method::GET, Method::HEAD].contains(&method);
        assert_eq!(
            tasks.load(Ordering::Relaxed),
            usize::from(!reads),
            "{method} {target}"
        );
    }
}
