use crate::{Location, ObjectStorage, keys, support::Remote};
use http::StatusCode;
use object_stores::proxy::{Fault as Failure, Kind, on};
use registry_core::{
    Algorithm, Digest, Reference, RepositoryName, Tag,
    storage::{
        Checked, Document, Evidence, Fault, FaultKind, Page, Record, Referring, Storage as _,
        StorageInspect as _, StorageRepair as _, StorageTrash,
    },
};

async fn open() -> ObjectStorage {
    ObjectStorage::options().open(Location::memory()).await.unwrap()
}

fn a() -> RepositoryName {
    RepositoryName::parse("a").unwrap()
}

fn v1() -> Tag {
    Tag::parse("v1").unwrap()
}

async fn write(storage: &ObjectStorage, key: &str, bytes: &'static [u8]) {
    storage.store.bucket.put(key, bytes).await.unwrap();
}

async fn link(storage: &ObjectStorage, key: &str, to: &Digest) {
    storage.store.bucket.put(key, to.to_string()).await.unwrap();
}

async fn faults(storage: &ObjectStorage) -> Vec<Fault> {
    storage.faults(&a(), Page::first(10)).await.unwrap().items
}

async fn evidence(storage: &ObjectStorage, digest: &Digest) -> Evidence {
    match storage.check(digest).await.unwrap() {
        Checked::Corrupt(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn corrupt_content_is_moved_aside_and_listed_with_its_damage() {
    let storage = open().await;
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, b"sound");
        write(&storage, &keys::blob(&digest), b"damaged").await;
        let found = evidence(&storage, &digest).await;

        assert!(storage.quarantine(found.clone()).await.unwrap());

        assert!(matches!(storage.check(&digest).await.unwrap(), Checked::Absent));
        let listed = storage.quarantined(Page::first(10)).await.unwrap().items;
        let item = listed.iter().find(|item| item.id.digest == digest).unwrap();
        assert_eq!((item.size, &item.reason), (7, &found.reason));
        assert!(!storage.quarantine(found).await.unwrap(), "it has gone");
        assert!(storage.remove_quarantined(&item.id).await.unwrap());
        assert!(!storage.remove_quarantined(&item.id).await.unwrap());
    }
    assert!(storage.store.list_all(keys::QUARANTINE).await.unwrap().is_empty());
}

#[tokio::test]
async fn content_that_was_pushed_again_stays() {
    let storage = open().await;
    let digest = Digest::of(Algorithm::Sha256, b"sound");
    write(&storage, &keys::blob(&digest), b"damag").await;
    let found = evidence(&storage, &digest).await;
    write(&storage, &keys::blob(&digest), b"sound").await;

    assert!(!storage.quarantine(found).await.unwrap());

    assert!(matches!(
        storage.check(&digest).await.unwrap(),
        Checked::Sound { size: 5, .. }
    ));
    assert!(storage.store.list_all(keys::QUARANTINE).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_garbled_link_is_written_again_from_its_key() {
    let storage = open().await;
    let [digest, other] = [b"x", b"y"].map(|bytes| Digest::of(Algorithm::Sha256, bytes));
    write(&storage, &keys::blob(&digest), b"x").await;
    let records = [
        (Record::Blob(digest), keys::layer(&a(), &digest)),
        (Record::Manifest(digest), keys::revision(&a(), &digest)),
    ];
    for garbage in [String::new(), "sha256:".into(), other.to_string()] {
        for (record, key) in &records {
            storage.store.bucket.put(key, garbage.clone()).await.unwrap();

            let found = faults(&storage).await;

            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].kind, &found[0].record), (FaultKind::Garbled, record));
            assert!(storage.mend(&a(), record).await.unwrap());
            assert!(faults(&storage).await.is_empty());
            assert!(!storage.mend(&a(), record).await.unwrap(), "once");
            storage.store.bucket.delete(key).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_link_to_content_that_is_gone_dangles_and_cannot_be_mended() {
    let storage = open().await;
    let digest = Digest::of(Algorithm::Sha256, b"x");
    link(&storage, &keys::layer(&a(), &digest), &digest).await;

    let found = faults(&storage).await;

    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, FaultKind::Dangling);
    assert!(!found[0].mendable && !storage.mend(&a(), &found[0].record).await.unwrap());
}

#[tokio::test]
async fn the_link_of_registry_2_to_another_algorithm_is_sound() {
    let storage = open().await;
    let [stored, known] = Algorithm::ALL.map(|algorithm| Digest::of(algorithm, b"x"));
    write(&storage, &keys::blob(&stored), b"x").await;
    link(&storage, &keys::layer(&a(), &known), &stored).await;

    assert!(faults(&storage).await.is_empty());
    let held = storage.held_blobs(&a(), Page::first(10)).await.unwrap().items;
    let held: Vec<_> = held
        .into_iter()
        .filter_map(registry_core::storage::Seen::whole)
        .collect();
    assert_eq!((held[0].digest, held[0].stored), (known, stored));
}

#[tokio::test]
async fn a_tag_that_names_nothing_is_removed() {
    let storage = open().await;
    write(&storage, &keys::tag(&a(), &v1()), b"garbage").await;
    let record = Record::Tag(v1());

    let found = faults(&storage).await;

    assert_eq!((found[0].kind, &found[0].record), (FaultKind::Garbled, &record));
    assert!(storage.mend(&a(), &record).await.unwrap());
    assert!(faults(&storage).await.is_empty());
    let missing = storage.fault(&a(), &record).await.unwrap().unwrap();
    assert_eq!(missing.kind, FaultKind::Missing);
}

#[tokio::test]
async fn the_lost_record_of_a_tagged_manifest_is_written_again() {
    const INDEX: &[u8] =
        br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let storage = open().await;
    let digest = Digest::of(Algorithm::Sha256, INDEX);
    let record = Record::Manifest(digest);
    write(&storage, &keys::blob(&digest), INDEX).await;
    let lost = storage.document(&a(), &digest).await.unwrap();
    assert!(
        matches!(lost, Document::Lost),
        "the bytes may be another repository's"
    );
    assert!(!storage.mend(&a(), &record).await.unwrap());
    link(&storage, &keys::tag(&a(), &v1()), &digest).await;

    let document = storage.document(&a(), &digest).await.unwrap();

    assert!(matches!(document, Document::Whole(found) if found.bytes == INDEX));
    let fault = storage.fault(&a(), &record).await.unwrap().unwrap();
    assert!(fault.kind == FaultKind::Missing && fault.mendable, "{fault:?}");
    assert!(storage.mend(&a(), &record).await.unwrap());
    assert_eq!(storage.fault(&a(), &record).await.unwrap(), None);
}

/// A manifest whose subject is `of`.
fn signature(of: &Digest) -> Vec<u8> {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"artifactType":"application/vnd.example.signature","subject":{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"{of}","size":1}}}}"#
    )
    .into_bytes()
}

#[tokio::test]
async fn a_lost_entry_of_a_referrer_is_written_again() {
    let storage = open().await;
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let bytes = signature(&subject);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    storage
        .store
        .bucket
        .put(&keys::blob(&digest), bytes)
        .await
        .unwrap();
    link(&storage, &keys::revision(&a(), &digest), &digest).await;
    let referrers = async || {
        let of = Referring::new(&subject);
        storage
            .referrers(&a(), of, Page::first(10))
            .await
            .unwrap()
            .items
            .len()
    };
    assert_eq!(storage.fault(&a(), &Record::Referrers).await.unwrap(), None);
    assert_eq!(referrers().await, 1, "the index is completed");
    assert!(faults(&storage).await.is_empty());
    let entries = storage
        .store
        .list_all(&keys::referrers_of(&a(), &subject))
        .await
        .unwrap();
    assert_eq!(entries.len(), 1);
    storage.store.bucket.delete(&entries[0].key).await.unwrap();
    assert_eq!(referrers().await, 0);

    let found = faults(&storage).await;

    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].kind, &found[0].record),
        (FaultKind::Garbled, &Record::Referrers)
    );
    assert!(storage.mend(&a(), &Record::Referrers).await.unwrap());
    assert!(faults(&storage).await.is_empty());
    assert_eq!(referrers().await, 1);
    assert!(!storage.mend(&a(), &Record::Referrers).await.unwrap(), "once");
}

#[tokio::test]
async fn a_lost_tag_points_again_where_it_pointed_last() {
    let storage = open().await;
    let bytes = signature(&Digest::of(Algorithm::Sha256, b"subject"));
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let record = Record::Tag(v1());
    let moved = format!(
        "{}/{:020}-{:016x}-m-sha256-{}",
        keys::history(&a(), &v1()),
        1_700_000_000_000_000_000_u64,
        1,
        digest.hex()
    );
    write(&storage, &moved, b"moved").await;
    let found = async || storage.fault(&a(), &record).await.unwrap();
    let lost = found().await.unwrap();
    assert_eq!(lost.kind, FaultKind::Lost);
    assert!(
        !lost.mendable && !storage.mend(&a(), &record).await.unwrap(),
        "{lost:?}"
    );
    storage
        .store
        .bucket
        .put(&keys::blob(&digest), bytes)
        .await
        .unwrap();
    link(&storage, &keys::revision(&a(), &digest), &digest).await;
    assert!(
        faults(&storage).await.is_empty(),
        "nothing is there that is faulty"
    );

    let lost = found().await.unwrap();
    assert!(lost.mendable, "{lost:?}");
    assert!(storage.mend(&a(), &record).await.unwrap());

    assert_eq!(found().await, None);
    assert!(!storage.mend(&a(), &record).await.unwrap(), "once");
    let tag = Reference::Tag(v1());
    let manifest = storage.manifest(&a(), &tag).await.unwrap().unwrap();
    assert_eq!(manifest.digest, digest);
    let history = StorageTrash::history(&storage, &a(), &v1()).await.unwrap();
    assert!(history.last().unwrap().restored, "{history:?}");
}

#[tokio::test]
async fn content_is_unreadable_only_if_a_store_that_works_fails_at_it_again_and_again() {
    let remote = Remote::start().await;
    let storage = remote.open(true).await;
    let digest = Digest::of(Algorithm::Sha256, b"sound");
    write(&storage, &keys::blob(&digest), b"sound").await;
    // A request is sent 5 times.
    for (failures, is_sound) in [(10, true), (15, false)] {
        let reads = on(Kind::Get).key("/blobs/").first(failures);
        let rule = remote
            .proxy
            .fault(reads, Failure::Answer(StatusCode::SERVICE_UNAVAILABLE));

        let checked = storage.check(&digest).await.unwrap();

        assert_eq!(rule.happened(), failures);
        assert_eq!(matches!(checked, Checked::Sound { .. }), is_sound, "{checked:?}");
    }
}

#[tokio::test]
async fn a_mark_that_was_left_is_no_damage() {
    let storage = open().await;
    let digest = Digest::of(Algorithm::Sha256, b"sound");
    let link = keys::layer(&a(), &digest);
    let mark = format!("{digest} nonce");
    storage.store.bucket.put(&link, mark).await.unwrap();
    assert_eq!(
        faults(&storage).await[0].kind,
        FaultKind::Dangling,
        "its content is gone"
    );
    write(&storage, &keys::blob(&digest), b"sound").await;
    assert!(faults(&storage).await.is_empty(), "its deletion may be going on");
}

#[tokio::test]
async fn a_link_that_is_too_large_is_not_read_and_can_be_mended() {
    let storage = open().await;
    let digest = Digest::of(Algorithm::Sha256, b"sound");
    write(&storage, &keys::blob(&digest), b"sound").await;
    let key = keys::layer(&a(), &digest);
    // Its first bytes are those of a link.
    let large = format!("{digest}{}", " ".repeat(5000));
    storage.store.bucket.put(&key, large).await.unwrap();
    let found = faults(&storage).await;
    assert_eq!((found[0].kind, found[0].mendable), (FaultKind::Garbled, true));
    assert!(storage.mend(&a(), &found[0].record).await.unwrap());
    assert!(faults(&storage).await.is_empty());
}
