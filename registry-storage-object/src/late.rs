//! Tests of removals by request that take effect late, of replicas that have died.

use crate::{
    Location, ObjectStorage, keys,
    marks::is_marked,
    rung::Rung,
    support::{Remote, digest, image, name, open, put, resolve, tag},
    tags::Link,
};
use bytes::Bytes;
use http::StatusCode;
use object_stores::proxy::{Fault, Gate, Kind, On, Rule, on};
use registry_core::{
    Algorithm, Digest, MediaType, Registry, RepositoryName,
    storage::{
        Deletion, FaultKind, Mount, Need, Needed, Page, PutManifest, PutOutcome, Record, Result,
        StorageError, StorageInspect as _, StorageRepair as _, StorageWrite as _, TagExpect,
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// A removal that is held up while its replica dies.
struct Held {
    gate: Gate,
    rule: Rule,
}

impl Held {
    /// Starts a deletion by another replica, which dies when it has sent this removal.
    async fn begin<T: Send + 'static, F: Future<Output = T> + Send>(
        remote: &Remote,
        rung: Rung,
        removal: On,
        delete: impl FnOnce(ObjectStorage) -> F + Send + 'static,
    ) -> Self {
        let storage = replica(remote, rung).await;
        let gate = Gate::new();
        let rule = remote.proxy.fault(removal, Fault::Delay(gate.clone()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.spawn(async move { delete(storage).await });
        assert!(gate.reached(1).await);
        runtime.shutdown_background();
        Self { gate, rule }
    }

    /// Lets the removal take effect.
    async fn land(self, remote: &Remote) {
        self.gate.open();
        while remote.proxy.seen().iter().any(|seen| seen.status.is_none()) {
            tokio::task::yield_now().await;
        }
        assert_eq!(self.rule.happened(), 1);
    }
}

/// Opens a replica that passes the faults.
async fn replica(remote: &Remote, rung: Rung) -> ObjectStorage {
    let mut storage = remote.open(true).await;
    let store = Arc::get_mut(&mut storage.store).unwrap();
    store.rung = rung;
    store.moving = Duration::from_secs(8);
    storage
}

async fn push_blob(
    storage: &ObjectStorage,
    bytes: &'static [u8],
) -> std::result::Result<Digest, registry_core::Error> {
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository(name("a").as_str()).unwrap();
    let digest = Digest::of(Algorithm::Sha256, bytes);
    let upload = repository.open_upload(Algorithm::Sha256).await?;
    repository
        .close(&upload.id, &digest, None, Bytes::from_static(bytes))
        .await?;
    Ok(digest)
}

async fn delete_blob(storage: ObjectStorage, digest: Digest) -> Result<bool> {
    storage.delete_blob(&name("a"), &digest, Deletion::new()).await
}

async fn put_naming(storage: &ObjectStorage, needs: Vec<Needed>) -> Result<PutOutcome> {
    let mut put = PutManifest::new(image(9), MediaType::parse(MediaType::OCI_MANIFEST).unwrap());
    put.needs = needs;
    storage.put_manifest(&name("a"), put).await
}

async fn is_held(storage: &ObjectStorage, digest: &Digest) -> bool {
    storage.store.held(&name("a"), digest).await.unwrap().is_some()
}

async fn record(storage: &ObjectStorage, number: usize) -> Link {
    let found = storage.store.revision_link(&name("a"), &digest(number)).await;
    found.unwrap()
}

#[tokio::test]
async fn a_manifest_that_is_put_after_its_deletion_has_stopped_stays() {
    let remote = Remote::start().await;
    let storage = remote.open(false).await;
    put(&storage, 1, &["v1"]).await;
    let key = keys::revision(&name("a"), &digest(1));
    let removal = on(Kind::ConditionalDelete).key(key);
    let held = Held::begin(&remote, Rung::Conditional, removal, async |replica| {
        replica
            .delete_manifest(&name("a"), &digest(1), Deletion::new())
            .await
    });
    let held = held.await;

    put(&storage, 1, &["v2"]).await;
    held.land(&remote).await;

    assert_eq!(record(&storage, 1).await, Link::To(digest(1)));
    assert_eq!(resolve(&storage, "v2").await, Some(digest(1)));
}

#[tokio::test]
async fn a_put_that_a_deletion_overtakes_and_stops_has_its_tag_in_the_end() {
    let remote = Remote::start().await;
    let (storage, direct) = (
        replica(&remote, Rung::Conditional).await,
        remote.open(false).await,
    );
    put(&direct, 1, &[]).await;
    let key = keys::revision(&name("a"), &digest(1));
    // The put has moved its tag, and looks at the record.
    let look = Gate::new();
    remote
        .proxy
        .fault(on(Kind::Get).key(&key).after(1), Fault::Delay(look.clone()));
    let putting = tokio::spawn(async move { put(&storage, 1, &["v1"]).await });
    assert!(look.reached(1).await);
    let removal = on(Kind::ConditionalDelete).key(key);
    let held = Held::begin(&remote, Rung::Conditional, removal, async |replica| {
        replica
            .delete_manifest(&name("a"), &digest(1), Deletion::new())
            .await
    });
    let held = held.await;
    assert_eq!(resolve(&direct, "v1").await, None);

    look.open();
    let outcome = putting.await.unwrap();
    held.land(&remote).await;

    assert!(outcome.failed.is_none(), "{outcome:?}");
    assert_eq!(record(&direct, 1).await, Link::To(digest(1)));
    assert_eq!(resolve(&direct, "v1").await, Some(digest(1)));
}

#[tokio::test]
async fn a_referrer_that_is_put_after_its_deletion_has_stopped_stays_in_the_index() {
    let remote = Remote::start().await;
    let storage = remote.open(false).await;
    let registry = Registry::builder(storage.clone()).build();
    let repository = registry.repository("a").unwrap();
    put(&storage, 1, &[]).await;
    let (media_type, subject) = (MediaType::OCI_INDEX, digest(1));
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[],"subject":{{"mediaType":"{media_type}","digest":"{subject}","size":1}}}}"#
    );
    let signature = Digest::of(Algorithm::Sha256, document.as_bytes());
    let push = || registry_core::service::ManifestPush::new(signature, document.clone());
    repository.put_manifest(push()).await.unwrap();
    let index = keys::referrers_of(&name("a"), &subject);
    let removal = on(Kind::ConditionalDelete).key(&index);
    let held = Held::begin(&remote, Rung::Conditional, removal, async move |replica| {
        replica
            .delete_manifest(&name("a"), &signature, Deletion::new())
            .await
    });
    let held = held.await;

    repository.put_manifest(push()).await.unwrap();
    held.land(&remote).await;

    let entries = storage.store.list_all(&index).await.unwrap();
    assert_eq!(entries.len(), 1);
}

#[tokio::test]
async fn a_blob_that_is_pushed_after_its_deletion_has_stopped_stays() {
    let remote = Remote::start().await;
    let storage = remote.open(false).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    let removal = on(Kind::ConditionalDelete).key(keys::layer(&name("a"), &blob));
    let deletion = async move |replica| delete_blob(replica, blob).await;
    let held = Held::begin(&remote, Rung::Conditional, removal, deletion).await;

    push_blob(&storage, b"content").await.unwrap();
    held.land(&remote).await;

    assert!(is_held(&storage, &blob).await);
}

#[tokio::test]
async fn a_blob_on_which_a_pusher_relies_after_its_deletion_has_stopped_stays() {
    let (a, b) = (name("a"), name("b"));
    for relies in ["a manifest", "a look", "a mount"] {
        let remote = Remote::start().await;
        let storage = remote.open(false).await;
        let blob = push_blob(&storage, b"content").await.unwrap();
        let removal = on(Kind::ConditionalDelete).key(keys::layer(&a, &blob));
        let deletion = async move |replica| delete_blob(replica, blob).await;
        let held = Held::begin(&remote, Rung::Conditional, removal, deletion).await;

        match relies {
            "a manifest" => {
                let needs = vec![Needed::new(blob, 7, Need::Blob)];
                put_naming(&storage, needs).await.unwrap();
            }
            "a look" => assert!(storage.store.blob(&a, &blob).await.unwrap().is_some()),
            _ => {
                let mount = Mount::new(&a, &blob);
                assert!(storage.store.mount(&b, mount).await.unwrap().is_some());
            }
        }
        held.land(&remote).await;

        assert!(is_held(&storage, &blob).await, "{relies}");
    }
}

#[tokio::test]
async fn a_deletion_of_a_blob_whose_answer_is_lost_is_decided_at_once() {
    let remote = Remote::start().await;
    let storage = replica(&remote, Rung::Conditional).await;
    for fault in [Fault::Cut, Fault::CutAfterEffect] {
        let blob = push_blob(&storage, b"content").await.unwrap();
        let key = keys::layer(&name("a"), &blob);
        let rule = remote.proxy.fault(on(Kind::ConditionalDelete).key(&key), fault);

        let deleted = delete_blob(storage.clone(), blob).await;

        assert!(deleted.unwrap() && rule.happened() == 1);
        assert!(storage.store.bucket.head(&key).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_deletion_that_fails_leaves_a_record_that_other_programs_can_read() {
    let remote = Remote::start().await;
    let storage = replica(&remote, Rung::Conditional).await;
    let (a, bucket) = (name("a"), &storage.store.bucket);
    put(&storage, 1, &["v1"]).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    let (record, layer) = (keys::revision(&a, &digest(1)), keys::layer(&a, &blob));
    let refused = || Fault::Answer(StatusCode::FORBIDDEN);
    for request in [
        on(Kind::Put).key(keys::GONE),
        on(Kind::ConditionalDelete).key(&record),
    ] {
        let rule = remote.proxy.fault(request, refused());
        let failed = storage.delete_manifest(&a, &digest(1), Deletion::new()).await;
        assert!(failed.is_err() && rule.happened() == 1, "{failed:?}");
        let link = bucket.get(&record).await.unwrap().unwrap();
        assert_eq!(link.bytes, digest(1).to_string(), "{rule:?}");
    }
    remote
        .proxy
        .fault(on(Kind::ConditionalDelete).key(&layer), refused());
    assert!(delete_blob(storage.clone(), blob).await.is_err());
    let link = bucket.get(&layer).await.unwrap().unwrap();
    assert_eq!(link.bytes, blob.to_string());
}

#[tokio::test]
async fn two_deletions_of_one_blob_both_succeed() {
    let remote = Remote::start().await;
    let storage = replica(&remote, Rung::Conditional).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    let gate = Gate::new();
    let layer = on(Kind::ConditionalDelete).key(keys::layer(&name("a"), &blob));
    remote.proxy.fault(layer, Fault::Delay(gate.clone()));
    let first = tokio::spawn(delete_blob(storage, blob));
    assert!(gate.reached(1).await);

    let second = delete_blob(remote.open(false).await, blob).await;
    gate.open();

    assert_eq!((first.await.unwrap().unwrap(), second.unwrap()), (true, true));
}

#[tokio::test]
async fn a_mark_that_a_deletion_has_left_hides_nothing_from_readers() {
    let remote = Remote::start().await;
    let storage = remote.open(false).await;
    put(&storage, 1, &["v1"]).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    let a = name("a");
    for key in [keys::revision(&a, &digest(1)), keys::layer(&a, &blob)] {
        storage.store.mark_link(&key).await.unwrap().unwrap();
        let link = storage.store.bucket.get(&key).await.unwrap().unwrap();
        assert!(is_marked(&link.bytes));
    }
    assert!(is_held(&storage, &blob).await);
    assert!(storage.store.revision(&a, &digest(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_put_whose_tag_a_deletion_finds_late_comes_before_it() {
    let remote = Remote::start().await;
    let (storage, direct) = (
        replica(&remote, Rung::Conditional).await,
        remote.open(false).await,
    );
    put(&direct, 1, &[]).await;
    // The tags are listed again once the record is gone.
    let gate = Gate::new();
    let listing = on(Kind::List).key(keys::tags(&name("a"))).after(1);
    remote.proxy.fault(listing, Fault::Delay(gate.clone()));
    let deletion = tokio::spawn(async move {
        storage
            .delete_manifest(&name("a"), &digest(1), Deletion::new())
            .await
    });
    assert!(gate.reached(1).await);
    put(&direct, 1, &["v1"]).await;
    gate.open();

    assert_eq!(deletion.await.unwrap().unwrap(), Some(vec![tag("v1")]));
    assert_eq!(
        (record(&direct, 1).await, resolve(&direct, "v1").await),
        (Link::None, None)
    );
}

#[tokio::test]
async fn a_tag_that_is_put_after_its_deletion_has_stopped_stays() {
    let remote = Remote::start().await;
    let storage = remote.open(false).await;
    put(&storage, 1, &["v1"]).await;
    let removal = on(Kind::ConditionalDelete).key("/v1/current/link");
    let held = Held::begin(&remote, Rung::Conditional, removal, async |replica| {
        let (a, v1) = (name("a"), tag("v1"));
        replica.delete_tag(&a, &v1, TagExpect::Any, Deletion::new()).await
    });
    let held = held.await;
    let link = storage.store.bucket.get(&keys::tag(&name("a"), &tag("v1"))).await;
    assert!(is_marked(&link.unwrap().unwrap().bytes));

    put(&storage, 1, &["v1"]).await;
    held.land(&remote).await;

    assert_eq!(resolve(&storage, "v1").await, Some(digest(1)));
}

fn assert_waits<T: std::fmt::Debug>(outcome: &Result<T>) {
    assert!(
        matches!(outcome, Err(StorageError::Unavailable { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn without_preconditions_a_push_waits_for_the_end_of_a_deletion_of_its_blob() {
    let remote = Remote::start().await;
    let storage = replica(&remote, Rung::Log).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    let other = push_blob(&storage, b"other").await.unwrap();
    let removal = on(Kind::Delete).key(keys::layer(&name("a"), &blob));
    let deletion = async move |replica| delete_blob(replica, blob).await;
    let held = Held::begin(&remote, Rung::Log, removal, deletion).await;

    let (a, b): (RepositoryName, RepositoryName) = (name("a"), name("b"));
    push_blob(&storage, b"other").await.unwrap();
    put_naming(&storage, vec![Needed::new(other, 5, Need::Blob)])
        .await
        .unwrap();
    let needs = vec![Needed::new(blob, 7, Need::Blob)];
    let (pushed, named, mounted, elsewhere) = tokio::join!(
        push_blob(&storage, b"content"),
        put_naming(&storage, needs),
        storage.store.mount(&a, Mount::new(&a, &blob)),
        storage.store.mount(&b, Mount::new(&a, &blob)),
    );

    assert!(pushed.is_err(), "{pushed:?}");
    assert_waits(&named);
    assert_waits(&mounted);
    assert!(elsewhere.unwrap().is_some(), "another link is not removed");
    held.land(&remote).await;
}

#[tokio::test]
async fn without_preconditions_a_push_goes_on_after_a_deletion_of_its_blob() {
    let remote = Remote::start().await;
    let storage = replica(&remote, Rung::Log).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    assert!(delete_blob(storage.clone(), blob).await.unwrap());
    assert!(!is_held(&storage, &blob).await);

    push_blob(&storage, b"content").await.unwrap();

    let needs = vec![Needed::new(blob, 7, Need::Blob)];
    put_naming(&storage, needs).await.unwrap();
    assert!(is_held(&storage, &blob).await);
}

#[tokio::test]
async fn a_mark_that_a_deletion_has_left_is_taken_off_by_a_repair() {
    let storage = open(&Location::memory()).await;
    put(&storage, 1, &[]).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    let a = name("a");
    let links = [
        (
            Record::Manifest(digest(1)),
            keys::revision(&a, &digest(1)),
            digest(1),
        ),
        (Record::Blob(blob), keys::layer(&a, &blob), blob),
    ];
    for (record, key, _) in &links {
        storage.store.mark_link(key).await.unwrap();
        let going_on = storage.store.fault(&a, record).await.unwrap();
        assert!(going_on.is_none(), "{going_on:?}");
    }
    pass_an_hour(&storage);
    for (record, key, target) in links {
        let left = storage.store.fault(&a, &record).await.unwrap().unwrap();
        assert!(left.kind == FaultKind::Marked && left.mendable, "{left:?}");
        assert!(storage.mend(&a, &record).await.unwrap());

        let link = storage.store.bucket.get(&key).await.unwrap().unwrap();
        assert_eq!(link.bytes, target.to_string());
    }
}

/// Lets the store's clock go on.
fn pass_an_hour(storage: &ObjectStorage) {
    let date = SystemTime::now() + Duration::from_secs(3600);
    let date = httpdate::fmt_http_date(date).parse().unwrap();
    let headers = [(http::header::DATE, date)].into_iter().collect();
    storage.store.bucket.observed().answer(&headers, Instant::now());
}

#[tokio::test]
async fn a_mark_that_a_deletion_has_left_is_taken_off_by_a_collection() {
    let storage = open(&Location::memory()).await;
    put(&storage, 1, &[]).await;
    let blob = push_blob(&storage, b"content").await.unwrap();
    let (a, store) = (name("a"), &storage.store);
    let links = [
        (keys::revision(&a, &digest(1)), digest(1)),
        (keys::layer(&a, &blob), blob),
    ];
    for (key, _) in &links {
        store.mark_link(key).await.unwrap();
    }
    let inspect = async || {
        let blobs = storage.held_blobs(&a, Page::first(10)).await.unwrap();
        let manifests = storage.manifests(&a, Page::first(10)).await.unwrap();
        assert_eq!((blobs.items.len(), manifests.items.len()), (1, 1));
    };

    inspect().await;
    assert!(store.left_marks.take().is_empty(), "its deletion may be going on");
    pass_an_hour(&storage);
    inspect().await;
    store.trim_changes().await.unwrap();

    for (key, target) in links {
        let link = store.bucket.get(&key).await.unwrap().unwrap();
        assert_eq!(link.bytes, target.to_string());
    }
}
