//! Tests of the index of referrers beside other programs.

use crate::{
    Location, ObjectStorage, keys,
    support::{Remote, digest, name, open, put, put_by_another_program},
};
use futures_util::TryStreamExt as _;
use http::StatusCode;
use object_stores::proxy::{Fault, Gate, Kind, on};
use registry_core::{
    Digest,
    storage::{Page, Referring, Storage as _, StorageWrite as _},
};

const SIGNATURE: &str = "application/vnd.example.signature";

fn signature(of: &Digest) -> String {
    let media_type = registry_core::MediaType::OCI_MANIFEST;
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","artifactType":"{SIGNATURE}","subject":{{"mediaType":"{media_type}","digest":"{of}","size":1}}}}"#
    )
}

async fn referrers(storage: &ObjectStorage, subject: &Digest, kind: Option<&str>) -> Vec<Digest> {
    let of = Referring::new(subject).of_type(kind);
    let listing = storage.referrers(&name("a"), of, Page::first(100)).await.unwrap();
    listing.items.iter().map(|item| item.digest).collect()
}

#[tokio::test]
async fn referrers_that_another_program_has_put_are_found_by_each_process() {
    let bucket = Location::memory();
    let storage = open(&bucket).await;
    put(&storage, 1, &["v1"]).await;
    let subject = digest(1);
    let found = put_by_another_program(&storage.store, &signature(&subject), None).await;
    let reader = ObjectStorage::options()
        .read_only()
        .open(bucket.clone())
        .await
        .unwrap();

    assert_eq!(referrers(&reader, &subject, None).await, [found]);
    let entries = keys::referrers_of(&name("a"), &subject);
    let written = storage.store.bucket.list(&entries).try_next().await.unwrap();
    assert!(written.is_none(), "a reader writes nothing");
    assert_eq!(referrers(&storage, &subject, Some(SIGNATURE)).await, [found]);
    assert_eq!(referrers(&storage, &subject, Some("another/type")).await, []);
    let written = storage.store.bucket.list(&entries).try_next().await.unwrap();
    assert!(written.is_some());

    // The next process reads only manifests that are not known.
    let known = storage
        .store
        .bucket
        .get(&keys::referrers_known(&name("a")))
        .await
        .unwrap();
    assert_eq!(known.unwrap().bytes.len(), 2 * 20);
    let other = put_by_another_program(&storage.store, &signature(&found), None).await;
    let next = open(&bucket).await;
    assert_eq!(referrers(&next, &found, None).await, [other]);
    assert_eq!(referrers(&next, &subject, None).await, [found]);
}

#[tokio::test]
async fn what_a_client_did_not_wait_for_goes_on() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    put(&storage, 1, &["v1"]).await;
    let subject = digest(1);
    let found = put_by_another_program(&storage.store, &signature(&subject), None).await;
    let gate = Gate::new();
    let read = on(Kind::Get).key(keys::blob(&found));
    let rule = remote.proxy.fault(read, Fault::Delay(gate.clone()));
    let ask = || {
        let storage = storage.clone();
        tokio::spawn(async move { referrers(&storage, &digest(1), None).await })
    };
    let first = ask();
    assert!(gate.reached(1).await);
    let second = ask();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let third = ask();
    tokio::task::yield_now().await;
    gate.open();

    let completed = storage.store.complete_referrers(&name("a")).await;

    assert!(completed.is_ok(), "{completed:?}");
    assert_eq!(rule.happened(), 1, "it was read again");
    for asked in [second, third] {
        assert_eq!(asked.await.unwrap(), [found]);
    }
}

#[tokio::test]
async fn what_was_read_before_a_failure_is_not_read_again() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let subject = digest(1);
    let mut put = Vec::new();
    for number in 0..7 {
        let manifest = signature(&subject).replace("\"size\":1", &format!("\"size\":{number}"));
        put.push(put_by_another_program(&storage.store, &manifest, None).await);
    }
    put.sort();
    let refused = Fault::Answer(StatusCode::FORBIDDEN);
    let last = on(Kind::Get).key(keys::blob(put.last().unwrap()));
    let rule = remote.proxy.fault(last.first(1), refused);

    let failed = storage.store.complete_referrers(&name("a")).await;

    assert!(failed.is_err());
    assert_eq!(rule.happened(), 1);
    // The portions have 2, 4 and 1 manifests.
    let known = storage.store.bucket.get(&keys::referrers_known(&name("a"))).await;
    assert_eq!(known.unwrap().unwrap().bytes.len(), 6 * 20);
    assert_eq!(referrers(&storage, &subject, None).await, put);
}

#[tokio::test]
async fn an_entry_without_its_manifest_lists_nothing() {
    let storage = open(&Location::memory()).await;
    let subject = digest(1);
    let found = put_by_another_program(&storage.store, &signature(&subject), None).await;
    assert_eq!(referrers(&storage, &subject, None).await, [found]);
    let key = keys::revision(&name("a"), &found);

    storage.store.bucket.delete(&key).await.unwrap();

    assert_eq!(referrers(&storage, &subject, None).await, []);
    // Put again, it has the entry that was left over.
    put_by_another_program(&storage.store, &signature(&subject), None).await;
    assert_eq!(referrers(&storage, &subject, None).await, [found]);
    let gone = storage
        .delete_manifest(&name("a"), &found, registry_core::storage::Deletion::new())
        .await;
    assert_eq!(gone.unwrap(), Some(vec![]));
    let entries = keys::referrers_of(&name("a"), &subject);
    let left = storage.store.bucket.list(&entries).try_next().await.unwrap();
    assert!(left.is_none(), "{left:?}");
}
