//! Counted events, and a check that no value chosen by a client becomes a series.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use prometheus_client::registry::Registry as Instruments;
use registry_core::{
    Algorithm, Authenticator, Digest, Identity, Reference, Registry, RepositoryName, Storage, Tag,
    auth::{Access, AuthError, AuthRequest, Challenge},
    maintenance::{CollectReport, Collections},
    service::{Overruled, RegistryService},
    storage::{
        Abilities, BlobBody, BlobInfo, BlobRead, Content, FileRange, Listing, MemoryStorage, Page, ReadBlob,
        Referring, Result, Space, StorageError, StoredManifest,
    },
};
use registry_metrics::{
    AuthMetrics, HttpMetrics, MeasuredBody, MeasuredService, StorageMetrics, gauges, prometheus_client, text,
};
use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};
use tower_layer::Layer as _;
use tower_service::Service;

type Body = Full<&'static [u8]>;

/// Makes a registry behind the layer, and its instruments.
fn registry() -> (Instruments, MeasuredService<RegistryService<MeasuredBody<Body>>>) {
    let mut instruments = Instruments::default();
    let http = HttpMetrics::register(&mut instruments);
    let registry = Registry::builder(MemoryStorage::new())
        .allow_anonymous_push()
        .build();
    let service = registry.into_service(|task| {
        tokio::spawn(task);
    });
    (instruments, http.layer(service))
}

/// Sends a request and reads the whole answer; returns its `Location`.
async fn send<S, B>(service: &mut S, method: &str, target: &str, body: &'static str) -> String
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body,
{
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(target)
        .body(Full::new(body.as_bytes()))
        .unwrap();
    let response = service.call(request).await.unwrap();
    let location = response.headers().get(header::LOCATION);
    let location = location.map_or_else(String::new, |location| location.to_str().unwrap().to_owned());
    assert!(response.into_body().collect().await.is_ok());
    location
}

/// Returns the value of a series, spelled as it is shown.
fn value(instruments: &Instruments, series: &str) -> Option<f64> {
    let text = text::encode(instruments);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

#[tokio::test]
async fn a_push_is_counted_by_endpoint_method_and_status() {
    let (instruments, mut registry) = registry();

    let session = send(&mut registry, "POST", "/v2/team/app/blobs/uploads/", "").await;
    let digest = Digest::of(Algorithm::Sha256, b"hello");
    send(
        &mut registry,
        "PUT",
        &format!("{session}?digest={digest}"),
        "hello",
    )
    .await;
    send(&mut registry, "GET", &format!("/v2/team/app/blobs/{digest}"), "").await;
    send(&mut registry, "GET", &format!("/v2/other/blobs/{digest}"), "").await;

    for (series, expected) in [
        (
            r#"registry_http_requests_total{handler="blob_upload",method="post",code="202"}"#,
            1.0,
        ),
        (
            r#"registry_http_requests_total{handler="blob_upload_chunk",method="put",code="201"}"#,
            1.0,
        ),
        (
            r#"registry_http_requests_total{handler="blob",method="get",code="200"}"#,
            1.0,
        ),
        (
            r#"registry_http_requests_total{handler="blob",method="get",code="404"}"#,
            1.0,
        ),
        (
            r#"registry_http_request_duration_seconds_count{handler="blob",method="get",class="2xx"}"#,
            1.0,
        ),
        (
            r#"registry_http_request_duration_seconds_count{handler="blob",method="get",class="4xx"}"#,
            1.0,
        ),
        (
            r#"registry_http_request_size_bytes_sum{handler="blob_upload_chunk"}"#,
            5.0,
        ),
        (r#"registry_http_response_size_bytes_count{handler="blob"}"#, 2.0),
        (
            r#"registry_http_response_size_bytes_sum{handler="blob_upload_chunk"}"#,
            0.0,
        ),
        (r#"registry_http_in_flight_requests{handler="blob"}"#, 0.0),
    ] {
        assert_eq!(value(&instruments, series), Some(expected), "{series}");
    }
}

#[tokio::test]
async fn no_series_is_of_a_clients_making() {
    let (instruments, mut registry) = registry();
    for target in ["/v2/a/manifests/x", "/favicon.ico"] {
        for method in ["GET", "BREW"] {
            send(&mut registry, method, target, "").await;
        }
    }
    let series = |instruments| text::encode(instruments).lines().count();
    let before = series(&instruments);

    for number in 0..100 {
        send(
            &mut registry,
            "GET",
            &format!("/v2/a{number}/b/manifests/{number}"),
            "",
        )
        .await;
        send(
            &mut registry,
            &format!("BREW{number}"),
            &format!("/{number}?{number}"),
            "",
        )
        .await;
    }

    assert_eq!(series(&instruments), before);
    let other = r#"registry_http_requests_total{handler="other",method="other",code="404"}"#;
    assert_eq!(value(&instruments, other), Some(101.0));
}

#[tokio::test]
async fn a_registry_below_a_prefix_is_counted_by_endpoint_too() {
    let mut instruments = Instruments::default();
    let http = HttpMetrics::register(&mut instruments).below("/registry/");
    let mut host = http.layer(Answering);

    send(&mut host, "GET", "/registry/v2/", "").await;
    send(&mut host, "GET", "/v2/", "").await;

    let requests =
        |handler| format!(r#"registry_http_requests_total{{handler="{handler}",method="get",code="200"}}"#);
    assert_eq!(value(&instruments, &requests("base")), Some(1.0));
    assert_eq!(value(&instruments, &requests("other")), Some(1.0));
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_answer_has_been_read() {
    let (instruments, mut registry) = registry();
    let in_flight = || {
        value(
            &instruments,
            r#"registry_http_in_flight_requests{handler="base"}"#,
        )
    };

    let request = Request::get("/v2/").body(Body::default()).unwrap();
    let response = registry.call(request).await.unwrap();

    assert_eq!(in_flight(), Some(1.0));
    drop(response);
    assert_eq!(in_flight(), Some(0.0));
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_is_counted_as_that() {
    let mut instruments = Instruments::default();
    let mut never = HttpMetrics::register(&mut instruments).layer(Never);

    let request = Request::get("/v2/_catalog").body(Body::default()).unwrap();
    {
        let mut answer = pin!(never.call(request));
        let pending = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context).is_pending())).await;
        assert!(pending);
    }

    let left = r#"registry_http_requests_total{handler="catalog",method="get",code="499"}"#;
    assert_eq!(value(&instruments, left), Some(1.0));
    let in_flight = r#"registry_http_in_flight_requests{handler="catalog"}"#;
    assert_eq!(value(&instruments, in_flight), Some(0.0));
}

/// Such as 408 to a client whose body stopped coming, whatever the router made of that.
#[tokio::test]
async fn what_a_listener_answers_in_place_of_the_router_is_what_is_counted() {
    let mut instruments = Instruments::default();
    let mut host = HttpMetrics::register(&mut instruments).layer(Answering);
    let overruled = Overruled::default();
    let mut request = Request::get("/v2/").body(Body::default()).unwrap();
    request.extensions_mut().insert(overruled.clone());

    let answer = host.call(request).await.unwrap();
    overruled.by(http::StatusCode::REQUEST_TIMEOUT, 120);
    drop(answer);

    let counted =
        |code| format!(r#"registry_http_requests_total{{handler="base",method="get",code="{code}"}}"#);
    assert_eq!(value(&instruments, &counted(408)), Some(1.0));
    assert_eq!(value(&instruments, &counted(200)), None);
    let sent = r#"registry_http_response_size_bytes_sum{handler="base"}"#;
    assert_eq!(value(&instruments, sent), Some(120.0));
}

#[tokio::test]
async fn operations_are_timed_and_errors_counted_by_kind() {
    let mut instruments = Instruments::default();
    let storage = StorageMetrics::register(&mut instruments, "broken").wrap(Broken);
    let repository = RepositoryName::parse("a").unwrap();
    let reference = Reference::Tag(Tag::parse("v1").unwrap());

    assert!(storage.manifest(&repository, &reference).await.is_err());
    assert!(storage.manifest(&repository, &reference).await.is_err());

    let calls = r#"registry_storage_action_seconds_count{driver="broken",action="manifest"}"#;
    assert_eq!(value(&instruments, calls), Some(2.0));
    let errors = |kind| format!(r#"registry_storage_errors_total{{driver="broken",kind="{kind}"}}"#);
    assert_eq!(value(&instruments, &errors("internal")), Some(2.0));
    // The series exists before the first event, which `increase()` needs.
    assert_eq!(value(&instruments, &errors("full")), Some(0.0));
    assert!(
        storage.write().is_none(),
        "what the storage inside cannot do stays closed"
    );
    assert!(storage.inspect().is_none() && storage.expire().is_none() && storage.health().is_none());
}

#[tokio::test]
async fn a_blob_that_breaks_off_while_it_is_read_is_an_error_too() {
    let mut instruments = Instruments::default();
    let storage = StorageMetrics::register(&mut instruments, "broken").wrap(Broken);
    let digest = Digest::of(Algorithm::Sha256, b"hello");

    let repository = RepositoryName::parse("a").unwrap();
    let read = storage
        .open_blob(&repository, &digest, ReadBlob::default())
        .await
        .unwrap()
        .unwrap();
    let errors = r#"registry_storage_errors_total{driver="broken",kind="internal"}"#;
    assert_eq!(value(&instruments, errors), Some(0.0));
    let BlobBody::Content(content) = read.body else {
        panic!("the storage does not redirect");
    };
    let file = content.file().cloned().expect("the offer of a file is handed on");
    assert!(content.into_stream().collect().await.is_err());
    assert_eq!(value(&instruments, errors), Some(1.0));

    file.failed(&StorageError::internal("it breaks off as well"));
    assert_eq!(value(&instruments, errors), Some(2.0));
}

#[tokio::test]
async fn logins_are_timed_by_outcome() {
    let mut instruments = Instruments::default();
    let authenticator = AuthMetrics::register(&mut instruments).wrap(ByHeader);
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(authenticator)
        .build();

    for user in ["", "somebody", "wrong", "wrong", "hasty"] {
        let request = Request::get("/v2/").header(header::AUTHORIZATION, user);
        let response = registry.handle(request.body(Body::default()).unwrap()).await;
        assert_eq!(response.status() == 200, user == "somebody");
        assert_eq!(
            response.headers().contains_key(header::WWW_AUTHENTICATE),
            response.status() == 401
        );
    }

    for (outcome, expected) in [
        ("anonymous", 1.0),
        ("identified", 1.0),
        ("rejected", 2.0),
        ("throttled", 1.0),
        ("failed", 0.0),
    ] {
        let series = format!(r#"registry_auth_duration_seconds_count{{outcome="{outcome}"}}"#);
        assert_eq!(value(&instruments, &series), Some(expected), "{outcome}");
    }
}

#[test]
fn gauges_are_asked_at_the_scrape() {
    let mut instruments = Instruments::default();
    gauges::build(&mut instruments, "1.2.3");
    gauges::process_start(
        &mut instruments,
        SystemTime::UNIX_EPOCH + Duration::from_millis(1500),
    );
    let space = Space::new(7, u64::MAX);
    gauges::space(&mut instruments, move || Ok(Some(space)));

    gauges::open_uploads(&mut instruments, || 3);
    gauges::quarantined(&mut instruments, || Ok(2));
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(4_102_444_800);
    gauges::certificate(&mut instruments, move || Some(until));
    gauges::health(&mut instruments, || vec![("a".into(), true), ("b".into(), false)]);

    assert_eq!(
        value(&instruments, r#"registry_health_passing{check="a"}"#),
        Some(1.0)
    );
    assert_eq!(
        value(&instruments, r#"registry_health_passing{check="b"}"#),
        Some(0.0)
    );
    assert_eq!(
        value(&instruments, r#"registry_build_info{version="1.2.3"}"#),
        Some(1.0)
    );
    assert_eq!(value(&instruments, "process_start_time_seconds"), Some(1.5));
    assert_eq!(value(&instruments, "registry_storage_open_uploads"), Some(3.0));
    assert_eq!(value(&instruments, "registry_storage_quarantined"), Some(2.0));
    assert_eq!(value(&instruments, "registry_storage_free_bytes"), Some(7.0));
    assert_eq!(
        value(
            &instruments,
            "registry_tls_certificate_expiration_timestamp_seconds"
        ),
        Some(4_102_444_800.0)
    );
    assert!(text::encode(&instruments).contains(&format!("registry_storage_size_bytes {}\n", u64::MAX)));
}

#[test]
fn collections_show_what_they_removed_and_left() {
    let report = |bytes| {
        let mut report = CollectReport::default();
        report.removed.links = 1;
        report.removed.data = 1;
        report.removed.bytes = bytes;
        report
    };
    let (collections, now) = (
        Collections::default(),
        SystemTime::UNIX_EPOCH + Duration::from_secs(7),
    );
    let mut instruments = Instruments::default();
    let asked = collections.clone();
    gauges::collections(&mut instruments, move || asked.counts());
    assert_eq!(
        value(&instruments, "registry_storage_collected_items_total"),
        Some(0.0)
    );
    assert_eq!(
        value(&instruments, "registry_storage_oldest_due_timestamp_seconds"),
        None
    );

    collections.add(&report(10), now);
    let mut preview = report(20);
    preview.dry_run = true;
    preview.later.items = 1;
    preview.later.bytes = 5;
    collections.add(&preview, now);

    for (name, expected) in [
        ("collected_items_total", 2.0),
        ("collected_bytes_total", 10.0),
        ("due_items", 3.0),
        ("due_bytes", 25.0),
        ("overdue_items", 2.0),
        ("overdue_bytes", 20.0),
        ("oldest_due_timestamp_seconds", 7.0),
        ("collected_timestamp_seconds", 7.0),
    ] {
        assert_eq!(
            value(&instruments, &format!("registry_storage_{name}")),
            Some(expected),
            "{name}"
        );
    }
}

#[test]
fn what_cannot_be_told_is_absent_and_the_rest_is_whole() {
    let mut instruments = Instruments::default();
    gauges::space(&mut instruments, || Err(StorageError::internal("timed out")));
    gauges::certificate(&mut instruments, || None);
    gauges::build(&mut instruments, "1.2.3");

    let text = text::encode(&instruments);

    assert!(!text.contains("registry_storage"), "{text}");
    assert!(!text.contains("registry_tls"), "{text}");
    assert!(text.contains("registry_build_info"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

/// Answers every request with an empty response.
struct Answering;

impl<B> Service<Request<B>> for Answering {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        std::future::ready(Ok(Response::default()))
    }
}

/// Never answers a request.
struct Never;

impl<B> Service<Request<B>> for Never {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        pending()
    }
}

/// Accepts the name in `Authorization` as the user, with exceptions.
#[derive(Debug)]
struct ByHeader;

#[async_trait]
impl Authenticator for ByHeader {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        match request
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|user| user.to_str().ok())
        {
            None | Some("") => Ok(None),
            Some("wrong") => Err(AuthError::Rejected),
            Some("hasty") => Err(AuthError::Throttled {
                retry_after: Duration::from_secs(1),
            }),
            Some(user) => Ok(Some(Identity::new(user))),
        }
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![Challenge::basic("test")]
    }
}

/// A body that cannot be read.
struct Breaking;

impl http_body::Body for Breaking {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>>>> {
        Poll::Ready(Some(broken()))
    }
}

/// A storage that only reads, and fails at everything.
#[derive(Debug)]
struct Broken;

fn broken<T>() -> Result<T> {
    Err(StorageError::internal("broken"))
}

#[async_trait]
impl Storage for Broken {
    fn abilities(&self) -> Abilities {
        Abilities::none()
    }

    async fn blob(&self, _: &RepositoryName, _: &Digest) -> Result<Option<BlobInfo>> {
        broken()
    }

    async fn open_blob(&self, _: &RepositoryName, digest: &Digest, _: ReadBlob) -> Result<Option<BlobRead>> {
        let content = Content::stream(Box::pin(Breaking))
            .with_file(FileRange::new(Arc::new(tempfile::tempfile().unwrap()), 0..5));
        Ok(Some(BlobRead::new(
            BlobInfo::new(*digest, 5),
            0..5,
            BlobBody::Content(content),
        )))
    }

    async fn manifest(&self, _: &RepositoryName, _: &Reference) -> Result<Option<StoredManifest>> {
        broken()
    }

    async fn tags(&self, _: &RepositoryName, _: Page<'_, Tag>) -> Result<Option<Listing<Tag>>> {
        broken()
    }

    async fn referrers(
        &self,
        _: &RepositoryName,
        _: Referring<'_>,
        _: Page<'_, Digest>,
    ) -> Result<Listing<registry_core::Descriptor>> {
        broken()
    }

    async fn repositories(&self, _: Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        broken()
    }
}
