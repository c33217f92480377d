//! The proxy in front of real servers.

use crate::{Test, VERSITYGW, list, on_each_server, on_server, read, round_trip, send, wait_for};
use http::{Method, Request, StatusCode};
use libtest_mimic::Trial;
use object_store::{
    ClientOptions, Error, ObjectStore as _, ObjectStoreExt as _, PutMode, RetryConfig, UpdateVersion,
    aws::AmazonS3,
    client::{HttpConnector as _, HttpRequestBody, ReqwestConnector},
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use object_stores::{
    S3Server,
    proxy::{Fault, Gate, HostileProxy, Kind, Repeat, on, on_any},
};
use std::time::{Duration, SystemTime};

pub(crate) fn trials() -> Vec<Trial> {
    // What depends on the server: its signatures and its XML.
    let everywhere: [(&str, Test); 4] = [
        (
            "without_rules_everything_passes_and_is_counted",
            everything_passes,
        ),
        ("keys_are_omitted_from_a_listing", keys_are_omitted),
        (
            "conditions_are_ignored_although_they_are_signed",
            conditions_are_ignored,
        ),
        (
            "conditions_are_checked_before_the_body_is_there",
            conditions_are_checked_early,
        ),
    ];
    let once: [(&str, Test); 10] = [
        (
            "a_delayed_request_takes_effect_after_the_client_gave_up",
            a_delayed_request,
        ),
        ("a_delayed_answer_comes_after_the_effect", a_delayed_answer),
        ("an_answer_is_replaced_after_the_effect", an_answer_is_replaced),
        (
            "a_connection_is_cut_before_or_after_the_effect",
            a_connection_is_cut,
        ),
        ("a_deletion_is_sent_again", a_deletion_is_sent_again),
        ("an_answer_comes_before_the_effect", an_answer_before_the_effect),
        ("a_request_is_doubled", a_request_is_doubled),
        ("the_date_of_an_answer_is_wrong", a_wrong_date),
        ("an_outage_is_answered_until_it_ends", an_outage),
        (
            "connections_are_refused_until_they_are_accepted",
            connections_are_refused,
        ),
    ];
    let mut trials = on_each_server("proxy", &everywhere);
    trials.extend(on_server(VERSITYGW, "proxy", &once));
    trials
}

fn everything_passes(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);

    wait_for(round_trip(&store));

    let counts = proxy.counts();
    for (kind, expected) in [
        (Kind::ConditionalPut, 4),
        (Kind::CreateMultipart, 1),
        (Kind::UploadPart, 2),
        (Kind::CompleteMultipart, 1),
        (Kind::Copy, 1),
        (Kind::List, 2),
        (Kind::Head, 2),
        (Kind::Get, 2),
    ] {
        assert_eq!(counts.get(&kind), Some(&expected), "{kind:?} of {counts:?}");
    }
    let written: Vec<_> = proxy
        .seen()
        .into_iter()
        .filter(|seen| seen.kind == Kind::ConditionalPut && seen.key == "a/b/object")
        .map(|seen| seen.status.map(|status| status.as_u16()))
        .collect();
    assert_eq!(written, [Some(200), Some(412), Some(200), Some(412)]);
    proxy.forget();
    assert_eq!(proxy.count(Kind::ConditionalPut), 0);
}

fn a_delayed_request(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let direct = server.client("bucket").build().unwrap();
    let (gate, path) = (Gate::new(), Path::from("tags/v1"));
    proxy.fault(on(Kind::Put).key("tags/"), Fault::Delay(gate.clone()));
    let arrived = Gate::new();
    proxy.fault(on(Kind::Put).key("tags/"), Fault::DelayAnswer(arrived.clone()));

    wait_for(async {
        let late = path.clone();
        let client = tokio::spawn(async move { store.put(&late, "late".into()).await });
        assert!(gate.reached(1).await);
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        assert!(matches!(direct.head(&path).await, Err(Error::NotFound { .. })));

        gate.open();
        assert!(arrived.reached(1).await);
        assert_eq!(read(&direct, &path).await, b"late");
    });
}

fn a_delayed_answer(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let direct = server.client("bucket").build().unwrap();
    let (gate, path) = (Gate::new(), Path::from("key"));
    proxy.fault(on(Kind::Put), Fault::DelayAnswer(gate.clone()));

    wait_for(async {
        let put = path.clone();
        let client = tokio::spawn(async move { store.put(&put, "done".into()).await });
        assert!(gate.reached(1).await);
        assert_eq!(read(&direct, &path).await, b"done");
        assert_eq!(proxy.seen().last().unwrap().status, None);

        gate.open();
        client.await.unwrap().unwrap();
    });
}

fn an_answer_is_replaced(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let path = Path::from("key");
    let rule = proxy.fault(
        on(Kind::ConditionalPut),
        Fault::AnswerAfterEffect(StatusCode::SERVICE_UNAVAILABLE),
    );

    wait_for(async {
        let failed = store.put_opts(&path, "x".into(), PutMode::Create.into()).await;
        assert!(matches!(failed, Err(Error::Generic { .. })), "{failed:?}");
        assert_eq!(read(&store, &path).await, b"x");
        let again = store.put_opts(&path, "x".into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    });
    assert_eq!(rule.happened(), 1);
}

fn a_connection_is_cut(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let (before, after) = (Path::from("before"), Path::from("after"));
    proxy.fault(on(Kind::Put).key("before"), Fault::Cut);
    proxy.fault(on(Kind::Put).key("after"), Fault::CutAfterEffect);

    wait_for(async {
        store.put(&before, "x".into()).await.unwrap_err();
        store.put(&after, "x".into()).await.unwrap_err();
        assert!(matches!(store.head(&before).await, Err(Error::NotFound { .. })));
        assert_eq!(read(&store, &after).await, b"x");
    });
}

fn a_deletion_is_sent_again(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let path = Path::from("key");
    let repeat = Repeat::new();
    proxy.fault(on(Kind::Delete).always(), Fault::Repeat(repeat.clone()));

    wait_for(async {
        assert!(repeat.send().await.is_err(), "nothing was recorded");
        store.put(&path, "first".into()).await.unwrap();
        send(&store, Method::DELETE, &path, SignedUrlOptions::new(), &[]).await;
        store.put(&path, "second".into()).await.unwrap();

        assert!(repeat.send().await.unwrap().is_success());

        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    });
}

fn keys_are_omitted(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let rule = proxy.fault(on(Kind::List).always(), Fault::OmitKeys(vec!["lost".to_owned()]));

    wait_for(async {
        for key in ["a/1", "a/lost", "a/lost-too/2", "b/3"] {
            store.put(&Path::from(key), "x".into()).await.unwrap();
        }
        assert_eq!(list(&store, "a").await, ["a/1"]);
        let below = store.list_with_delimiter(Some(&Path::from("a"))).await.unwrap();
        assert_eq!(below.common_prefixes, []);

        rule.remove();
        assert_eq!(list(&store, "a").await, ["a/1", "a/lost", "a/lost-too/2"]);
    });
}

fn conditions_are_ignored(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let path = Path::from("a/key");
    proxy.fault(on_any().always(), Fault::IgnoreConditions);

    wait_for(async {
        for content in ["first", "second"] {
            let put = store
                .put_opts(&path, content.into(), PutMode::Create.into())
                .await;
            put.unwrap();
        }
        assert_eq!(read(&store, &path).await, b"second");

        // Signed by the URL: with the condition in the signature, and without.
        let condition = ("if-none-match", "*");
        let options = SignedUrlOptions::new()
            .with_signed_header(condition.0.parse().unwrap(), condition.1.parse().unwrap());
        for (options, key) in [(options, "signed"), (SignedUrlOptions::new(), "unsigned")] {
            for _ in 0..2 {
                let status = send(
                    &store,
                    Method::PUT,
                    &Path::from(key),
                    options.clone(),
                    &[condition],
                )
                .await;
                assert_eq!(status, StatusCode::OK, "{key}");
            }
        }
    });
}

fn conditions_are_checked_early(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let direct = server.client("bucket").build().unwrap();
    let (gate, path) = (Gate::new(), Path::from("key"));
    proxy.fault(on(Kind::ConditionalPut).always(), Fault::CheckEarly);
    proxy.fault(on(Kind::ConditionalPut), Fault::Delay(gate.clone()));

    wait_for(async {
        let put = path.clone();
        let slow = store.clone();
        let slow =
            tokio::spawn(async move { slow.put_opts(&put, "slow".into(), PutMode::Create.into()).await });
        assert!(gate.reached(1).await);
        let quick = direct.put_opts(&path, "quick".into(), PutMode::Create.into());
        let quick = quick.await.unwrap();
        gate.open();
        slow.await.unwrap().unwrap();
        assert_eq!(read(&direct, &path).await, b"slow");

        let again = store.put_opts(&path, "x".into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        let stale = PutMode::Update(quick.into());
        let stale = store.put_opts(&path, "x".into(), stale.into()).await;
        assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
        let present = direct.head(&path).await.unwrap();
        let present = PutMode::Update(UpdateVersion {
            e_tag: present.e_tag,
            version: present.version,
        });
        store.put_opts(&path, "x".into(), present.into()).await.unwrap();
    });
}

fn an_answer_before_the_effect(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let (gate, path) = (Gate::new(), Path::from("key"));
    let fault = Fault::AnswerBeforeEffect(StatusCode::SERVICE_UNAVAILABLE, gate.clone());
    proxy.fault(on(Kind::Put), fault);

    wait_for(async {
        store.put(&path, "late".into()).await.unwrap_err();
        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
        gate.open();
        assert!(gate.left(1).await);
        assert_eq!(read(&store, &path).await, b"late");
    });
}

fn a_request_is_doubled(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let (gate, path) = (Gate::new(), Path::from("key"));
    proxy.fault(on(Kind::Put), Fault::Double(gate.clone()));

    wait_for(async {
        store.put(&path, "first".into()).await.unwrap();
        assert_eq!(read(&store, &path).await, b"first");
        store.put(&path, "second".into()).await.unwrap();
        gate.open();
        assert!(gate.left(1).await);
        assert_eq!(read(&store, &path).await, b"first");
    });
}

fn a_wrong_date(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let hour = Duration::from_secs(3600);
    proxy.fault(on(Kind::Get), Fault::WrongDate(hour));
    let path = Path::from("key");

    wait_for(async {
        for expected in [hour, Duration::ZERO] {
            let url = store.signed_url(Method::GET, &path, hour).await.unwrap();
            let ahead = ahead_of_now(url.as_str()).await;
            assert!(ahead.abs_diff(expected) < Duration::from_secs(60), "{ahead:?}");
        }
    });
}

/// Returns the time by which the date of an answer is ahead.
async fn ahead_of_now(url: &str) -> Duration {
    let settings = ClientOptions::new().with_allow_http(true);
    let client = ReqwestConnector::default().connect(&settings).unwrap();
    let request = Request::get(url).body(HttpRequestBody::empty()).unwrap();
    let answered = client.execute(request).await.unwrap();
    let date = answered.headers().get("date").unwrap().to_str().unwrap();
    let date = httpdate::parse_http_date(date).unwrap();
    date.duration_since(SystemTime::now()).unwrap_or_default()
}

fn an_outage(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let path = Path::from("key");
    let outage = proxy.fault(
        on_any().always(),
        Fault::Answer(StatusCode::INTERNAL_SERVER_ERROR),
    );

    wait_for(async {
        store.put(&path, "x".into()).await.unwrap_err();
        store.list_with_delimiter(None).await.unwrap_err();
        outage.remove();
        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    });
    assert_eq!(outage.happened(), 2);
}

fn connections_are_refused(server: &mut S3Server) {
    let (proxy, store) = in_front_of(server);
    let path = Path::from("key");

    wait_for(async {
        store.put(&path, "x".into()).await.unwrap();
        proxy.refuse_connections().await;
        let refused = std::net::TcpStream::connect(proxy.address()).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        store.head(&path).await.unwrap_err();

        proxy.accept_connections().unwrap();
        assert_eq!(store.head(&path).await.unwrap().size, 1);
    });
}

/// Starts a proxy, and returns a client of it that tries each request once.
fn in_front_of(server: &S3Server) -> (HostileProxy, AmazonS3) {
    let proxy = HostileProxy::start(server.address()).unwrap();
    let once = RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::from_secs(60),
        ..RetryConfig::default()
    };
    let client = server.bucket("bucket").unwrap().with_endpoint(proxy.endpoint());
    (proxy, client.with_retry(once).build().unwrap())
}
