//! The fake of Google Cloud Storage.

use crate::{list, read, round_trip, send, send_to, wait_for};
use http::{Method, StatusCode};
use libtest_mimic::Trial;
use object_store::{
    Error, ObjectStore as _, ObjectStoreExt as _, PutMode, PutPayload, UpdateVersion,
    gcp::GoogleCloudStorage,
    multipart::MultipartStore as _,
    path::Path,
    signer::{SignedUrlOptions, Signer as _},
};
use object_stores::{
    GcsFake, HostileProxy,
    proxy::{Fault, Kind, on},
};
use std::time::Duration;

type Test = fn(&GcsFake, &GoogleCloudStorage);

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 7] = [
        ("objects_are_stored_under_conditions_and_listed", |_, store| {
            wait_for(round_trip(store));
        }),
        ("equal_content_has_a_new_generation", equal_content),
        ("a_listing_has_pages_in_the_order_of_bytes", a_listing_has_pages),
        ("signed_urls_are_checked_with_their_headers", signed_urls),
        ("a_signed_url_expires", a_signed_url_expires),
        (
            "a_multipart_upload_completes_once_with_its_parts",
            a_multipart_upload,
        ),
        ("a_proxy_passes_requests_and_signed_urls", a_proxy),
    ];
    let trial = |(name, test): (&str, Test)| {
        Trial::test(format!("gcs::{name}"), move || {
            let fake = GcsFake::start()?;
            let store = fake.bucket("bucket").build()?;
            test(&fake, &store);
            Ok(())
        })
    };
    tests.into_iter().map(trial).collect()
}

fn equal_content(_: &GcsFake, store: &GoogleCloudStorage) {
    let path = Path::from("key");
    wait_for(async {
        let first = store.put(&path, "same".into()).await.unwrap();
        let second = store.put(&path, "same".into()).await.unwrap();
        assert_eq!(first.e_tag, second.e_tag);

        let stale = store
            .put_opts(&path, "x".into(), PutMode::Update(first.into()).into())
            .await;

        assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
        let found = store.head(&path).await.unwrap();
        assert_eq!(found.version, second.version);
    });
}

fn a_listing_has_pages(_: &GcsFake, store: &GoogleCloudStorage) {
    wait_for(async {
        let mut expected: Vec<_> = (0..1001).map(|number| format!("o/{number}/x")).collect();
        expected.extend(["o/1-alpine/x", "o/1.2/x", "o/a&b"].map(str::to_owned));
        for key in &expected {
            store
                .put(&Path::from(key.as_str()), PutPayload::new())
                .await
                .unwrap();
        }
        expected.sort();

        let objects: Vec<_> = futures_util::TryStreamExt::try_collect(store.list(None))
            .await
            .unwrap();

        let listed: Vec<_> = objects
            .into_iter()
            .map(|object: object_store::ObjectMeta| object.location.to_string())
            .collect();
        assert_eq!(listed, expected);
        let below = store.list_with_delimiter(Some(&Path::from("o"))).await.unwrap();
        assert_eq!((below.common_prefixes.len(), below.objects.len()), (1003, 1));
    });
}

fn signed_urls(_: &GcsFake, store: &GoogleCloudStorage) {
    let (path, name) = (Path::from("a/key"), "x-goog-if-generation-match");
    wait_for(async {
        let absent = SignedUrlOptions::new().with_signed_header(name.parse().unwrap(), "0".parse().unwrap());
        let mut statuses = Vec::new();
        // Not with the header that is signed; with it; when the object is there.
        for headers in [&[][..], &[(name, "0")], &[(name, "0")]] {
            statuses.push(
                send(store, Method::PUT, &path, absent.clone(), headers)
                    .await
                    .as_u16(),
            );
        }
        assert_eq!(statuses, [403, 200, 412]);

        let url = store
            .signed_url(Method::GET, &path, Duration::from_secs(60))
            .await
            .unwrap();
        let other = url.as_str().replace("a/key", "a/another");
        assert_eq!(send_to(url.as_str(), Method::GET, &[]).await, StatusCode::OK);
        assert_eq!(
            send_to(url.as_str(), Method::DELETE, &[]).await,
            StatusCode::FORBIDDEN
        );
        assert_eq!(send_to(&other, Method::GET, &[]).await, StatusCode::FORBIDDEN);
        let bare = url.as_str().split('?').next().unwrap();
        assert_eq!(send_to(bare, Method::GET, &[]).await, StatusCode::UNAUTHORIZED);
    });
}

fn a_signed_url_expires(_: &GcsFake, store: &GoogleCloudStorage) {
    let path = Path::from("key");
    wait_for(async {
        let url = store
            .signed_url(Method::PUT, &path, Duration::ZERO)
            .await
            .unwrap();
        assert_eq!(
            send_to(url.as_str(), Method::PUT, &[]).await,
            StatusCode::BAD_REQUEST
        );
        assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    });
}

fn a_multipart_upload(fake: &GcsFake, store: &GoogleCloudStorage) {
    let path = Path::from("large");
    wait_for(async {
        let id = store.create_multipart(&path).await.unwrap();
        let small = store.put_part(&path, &id, 0, "small".into()).await.unwrap();
        let last = store.put_part(&path, &id, 1, "last".into()).await.unwrap();
        let parts = vec![small, last.clone()];
        store.complete_multipart(&path, &id, parts).await.unwrap_err();
        let large = PutPayload::from(vec![1; 5 << 20]);
        let large = store.put_part(&path, &id, 0, large).await.unwrap();
        assert_eq!((fake.open_multiparts("bucket"), fake.keys("bucket")), (1, vec![]));

        let stored = store
            .complete_multipart(&path, &id, vec![large.clone(), last.clone()])
            .await
            .unwrap();

        let found = store.head(&path).await.unwrap();
        assert_eq!((found.size, found.version), ((5 << 20) + 4, stored.version));
        assert_eq!(
            (fake.open_multiparts("bucket"), fake.keys("bucket")),
            (0, vec!["large".to_owned()])
        );
        store
            .complete_multipart(&path, &id, vec![large, last])
            .await
            .unwrap_err();
        store.put_part(&path, &id, 2, "late".into()).await.unwrap_err();
    });
}

fn a_proxy(fake: &GcsFake, direct: &GoogleCloudStorage) {
    let proxy = HostileProxy::start(fake.address()).unwrap();
    let store = fake
        .client("bucket")
        .with_base_url(&proxy.endpoint())
        .build()
        .unwrap();
    let path = Path::from("a/key");
    wait_for(async {
        send(&store, Method::PUT, &path, SignedUrlOptions::new(), &[]).await;
        let none = UpdateVersion {
            e_tag: None,
            version: Some("0".to_owned()),
        };
        let lost = store
            .put_opts(&path, "x".into(), PutMode::Update(none).into())
            .await;
        assert!(matches!(lost, Err(Error::Precondition { .. })), "{lost:?}");
        assert_eq!(proxy.count(Kind::ConditionalPut), 1);
        assert_eq!(read(direct, &path).await, b"");

        proxy.fault(on(Kind::List), Fault::OmitKeys(vec!["key".to_owned()]));
        assert!(list(&store, "a").await.is_empty());
        assert_eq!(list(&store, "a").await, ["a/key"]);
    });
}
