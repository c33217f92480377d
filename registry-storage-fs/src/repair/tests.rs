use crate::{
    FsStorage, faults,
    pauses::Point,
    support::{
        all, blob_data, content, layer_link, manifest, name, push, put, read, revision_link, tag, top,
    },
};
use registry_core::{
    Algorithm, Digest, MediaType, RepositoryName, Storage as _, Tag,
    manifest::Manifest,
    storage::{
        Checked, Deletion, Document, Fault, FaultKind, Page, PutManifest, Record, StorageInspect as _,
        StorageRepair as _, StorageTrash as _, StorageWrite as _, StoredManifest, TagExpect, Verified,
    },
};
use rustix::io::Errno;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;

fn open() -> (TempDir, FsStorage) {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    (root, storage)
}

/// Writes bytes at the beginning of a file without a trace in its metadata.
fn write_unseen(path: &Path, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_modified(modified).unwrap();
}

#[tokio::test]
async fn what_is_read_twice_with_different_results_is_not_corrupt() {
    let (root, storage) = open();
    let bytes = content(1000);
    let digest = push(&storage, &name("a"), &bytes).await.digest;
    let path = blob_data(root.path(), &digest);
    for second in [bytes[0], bytes[0] ^ 2] {
        write_unseen(&path, &[bytes[0] ^ 1]);
        let there = path.clone();
        let pauses = &storage.store().pauses;
        pauses.at(Point::CheckReadOnce, move || write_unseen(&there, &[second]));

        let checked = storage.check(&digest).await.unwrap();

        let Checked::Unreadable { place, reason, .. } = checked else {
            panic!("{checked:?}");
        };
        assert_eq!(Path::new(&place), path);
        assert!(reason.contains("different"), "{reason}");
    }
}

#[tokio::test]
async fn what_is_replaced_while_it_is_read_is_read_again() {
    let (root, storage) = open();
    let bytes = content(1000);
    let digest = push(&storage, &name("a"), &bytes).await.digest;
    let path = blob_data(root.path(), &digest);
    fs::write(&path, "damaged").unwrap();
    let (there, sound) = (path.clone(), bytes.clone());
    storage.store().pauses.at(Point::CheckReadOnce, move || {
        fs::remove_file(&there).unwrap();
        fs::write(&there, sound).unwrap();
    });

    let checked = storage.check(&digest).await.unwrap();

    assert!(
        matches!(checked, Checked::Sound { size: 1000, .. }),
        "{checked:?}"
    );
}

#[tokio::test]
async fn a_disk_error_is_reported_and_moves_nothing() {
    let (root, storage) = open();
    let repository = name("a");
    let digest = push(&storage, &repository, &content(1000)).await.digest;
    let (data, link) = (
        blob_data(root.path(), &digest),
        layer_link(root.path(), &repository, &digest),
    );
    {
        let _broken = faults::fail(&data, Errno::IO);
        let checked = storage.check(&digest).await.unwrap();
        assert!(
            matches!(&checked, Checked::Unreadable { reason, .. } if reason.contains("os error 5")),
            "{checked:?}"
        );
        let found = storage.faults(&repository, all()).await.unwrap().items;
        assert_eq!(kinds(&found), [FaultKind::Unreadable]);
    }
    {
        let _broken = faults::fail(&link, Errno::IO);
        let found = storage.faults(&repository, all()).await.unwrap().items;
        assert_eq!(kinds(&found), [FaultKind::Unreadable]);
        assert_eq!(Path::new(&found[0].place), link);
        assert!(!storage.mend(&repository, &found[0].record).await.unwrap());
    }
    assert_eq!(storage.quarantined().unwrap(), 0);
    assert!(storage.faults(&repository, all()).await.unwrap().items.is_empty());
}

fn kinds(faults: &[Fault]) -> Vec<FaultKind> {
    faults.iter().map(|fault| fault.kind).collect()
}

#[tokio::test]
async fn a_garbled_link_is_written_again_from_its_name() {
    let (root, storage) = open();
    let repository = name("a");
    let bytes = content(1000);
    let blob = push(&storage, &repository, &bytes).await.digest;
    let other = push(&storage, &repository, &content(10)).await.digest;
    let document = manifest("1");
    let image = *document.digest();
    put(&storage, &repository, document, &["v1"]).await;
    let links = [
        (Record::Blob(blob), layer_link(root.path(), &repository, &blob)),
        (
            Record::Manifest(image),
            revision_link(root.path(), &repository, &image),
        ),
    ];
    for garbage in ["", "sha256:", "\0\0\0\0", &other.to_string()] {
        for (record, link) in &links {
            fs::write(link, garbage).unwrap();

            let found = storage.faults(&repository, all()).await.unwrap().items;

            let [fault] = &found[..] else {
                panic!("{garbage:?}: {found:?}");
            };
            assert_eq!((fault.kind, &fault.record), (FaultKind::Garbled, record));
            assert_eq!(Path::new(&fault.place), link);
            assert!(fault.mendable && storage.mend(&repository, record).await.unwrap());
            assert!(storage.faults(&repository, all()).await.unwrap().items.is_empty());
            assert!(!storage.mend(&repository, record).await.unwrap(), "once");
        }
    }
    assert_eq!(read(&storage, &repository, &blob).await, Some(bytes));
    assert!(
        storage
            .manifest(&repository, &tag("v1").into())
            .await
            .unwrap()
            .is_some()
    );
}

/// registry:2 stores a sha512 blob under its sha256. Only the link says so.
#[tokio::test]
async fn the_link_of_registry_2_to_another_algorithm_is_sound_and_cannot_be_written_from_its_name() {
    let (root, storage) = open();
    let repository = name("a");
    let bytes = content(1000);
    let stored = push(&storage, &repository, &bytes).await.digest;
    let alias = Digest::of(Algorithm::Sha512, &bytes);
    let link = layer_link(root.path(), &repository, &alias);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    fs::write(&link, stored.to_string()).unwrap();
    assert!(storage.faults(&repository, all()).await.unwrap().items.is_empty());

    fs::write(&link, "").unwrap();

    let found = storage.faults(&repository, all()).await.unwrap().items;
    assert_eq!(kinds(&found), [FaultKind::Garbled]);
    assert!(!found[0].mendable && !storage.mend(&repository, &found[0].record).await.unwrap());
}

/// The bytes match the digest that they are stored by, and not the one that a client asks for.
#[tokio::test]
async fn a_manifest_whose_link_leads_to_another_one_is_not_served() {
    let (root, storage) = open();
    let repository = name("a");
    let document = manifest("1");
    let (stored, bytes) = (*document.digest(), document.bytes().clone());
    put(&storage, &repository, document, &[]).await;
    for (of, is_served) in [(&b"other"[..], false), (&bytes, true)] {
        let alias = Digest::of(Algorithm::Sha512, of);
        let link = revision_link(root.path(), &repository, &alias);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        fs::write(&link, stored.to_string()).unwrap();

        let found = storage.manifest(&repository, &alias.into()).await.unwrap();
        let document = storage.document(&repository, &alias).await.unwrap();

        assert_eq!(found.is_some(), is_served);
        assert_eq!(matches!(document, Document::Whole(_)), is_served, "{document:?}");
        assert_eq!(matches!(document, Document::Damaged(_)), !is_served);
    }
}

#[tokio::test]
async fn a_lost_link_is_written_again_and_one_that_a_client_deleted_is_not() {
    let (root, storage) = open();
    let repository = name("a");
    let [lost, deleted] = [content(1000), content(10)];
    let lost = push(&storage, &repository, &lost).await.digest;
    let deleted = push(&storage, &repository, &deleted).await.digest;
    fs::remove_dir_all(layer_link(root.path(), &repository, &lost).parent().unwrap()).unwrap();
    storage
        .delete_blob(&repository, &deleted, Deletion::new())
        .await
        .unwrap();

    for (digest, mendable) in [(lost, true), (deleted, false)] {
        let record = Record::Blob(digest);
        let fault = storage.fault(&repository, &record).await.unwrap().unwrap();
        assert_eq!((fault.kind, fault.mendable), (FaultKind::Missing, mendable));
        assert_eq!(storage.mend(&repository, &record).await.unwrap(), mendable);
        let held = storage.blob(&repository, &digest).await.unwrap();
        assert_eq!(held.is_some(), mendable);
    }
}

#[tokio::test]
async fn content_that_is_gone_and_pointers_without_a_target_are_reported() {
    let (root, storage) = open();
    let repository = name("a");
    let blob = push(&storage, &repository, &content(1000)).await.digest;
    let document = manifest("1");
    let image = *document.digest();
    put(&storage, &repository, document, &["v1", "v2"]).await;
    for digest in [blob, image] {
        fs::remove_file(blob_data(root.path(), &digest)).unwrap();
    }
    let pointer = top(root.path()).join("repositories/a/_manifests/tags/v2/current/link");
    fs::write(&pointer, "").unwrap();
    // Left by a process that died. No reader sees it.
    fs::create_dir_all(top(root.path()).join("repositories/a/_manifests/tags/v3")).unwrap();

    let found = storage.faults(&repository, all()).await.unwrap().items;

    let expected = [
        (Record::Blob(blob), FaultKind::Dangling),
        (Record::Manifest(image), FaultKind::Dangling),
        (Record::Tag(tag("v2")), FaultKind::Garbled),
    ];
    let seen: Vec<_> = found
        .iter()
        .map(|fault| (fault.record.clone(), fault.kind))
        .collect();
    assert_eq!(seen, expected);
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|fault: &Fault| fault.record.clone());
        let page = Page::first(1).after(after.as_ref());
        let listed = storage.faults(&repository, page).await.unwrap();
        paged.extend(listed.items);
        if !listed.more {
            break;
        }
    }
    assert_eq!(paged, found);
    for fault in &found {
        let mended = storage.mend(&repository, &fault.record).await.unwrap();
        let is_tag = matches!(fault.record, Record::Tag(_));
        assert_eq!((fault.mendable, mended), (is_tag, is_tag), "{fault:?}");
    }
}

/// Returns the records of deletions: the manifest, its tags, and true if the manifest was deleted.
async fn deleted(storage: &FsStorage, repository: &RepositoryName) -> Vec<(Digest, Vec<Tag>, bool)> {
    let records = storage.deleted(repository, all()).await.unwrap().items;
    let records = records.into_iter().map(|record| record.whole().unwrap());
    records
        .map(|record| (record.digest, record.tags, record.manifest_deleted))
        .collect()
}

/// Puts something that is no link in the place of one.
fn garble(link: &Path, garbage: Option<&str>) {
    match garbage {
        Some(garbage) => fs::write(link, garbage).unwrap(),
        None => {
            fs::remove_file(link).unwrap();
            fs::create_dir(link).unwrap();
        }
    }
}

const GARBAGE: [Option<&str>; 4] = [Some(""), Some("sha256:"), Some("\0\0\0\0"), None];

/// Otherwise it keeps a collection from removing anything of its repository.
#[tokio::test]
async fn a_manifest_with_a_garbled_link_can_be_deleted() {
    for garbage in GARBAGE {
        let (root, storage) = open();
        let repository = name("a");
        let document = manifest("1");
        let image = *document.digest();
        put(&storage, &repository, document, &["v1"]).await;
        garble(&revision_link(root.path(), &repository, &image), garbage);

        let tags = storage
            .delete_manifest(&repository, &image, Deletion::new())
            .await;

        assert_eq!(tags.unwrap(), Some(vec![tag("v1")]), "{garbage:?}");
        let left = storage.manifests(&repository, all()).await.unwrap();
        assert!(left.items.is_empty(), "{garbage:?}: {left:?}");
        assert_eq!(
            deleted(&storage, &repository).await,
            [(image, vec![tag("v1")], true)]
        );
        let again = storage
            .delete_manifest(&repository, &image, Deletion::new())
            .await;
        assert_eq!(again.unwrap(), None, "{garbage:?}");
    }
}

#[tokio::test]
async fn a_tag_that_points_nowhere_is_removed_with_a_record_of_where_it_pointed_last() {
    for (garbage, by_repair) in GARBAGE
        .into_iter()
        .flat_map(|garbage| [(garbage, false), (garbage, true)])
    {
        let (root, storage) = open();
        let repository = name("a");
        let images = ["1", "2", "3"].map(manifest);
        let last = *images[0].digest();
        for image in [&images[0], &images[1], &images[2], &images[0]] {
            put(&storage, &repository, image.clone(), &["v1"]).await;
        }
        let pointer = top(root.path()).join("repositories/a/_manifests/tags/v1/current/link");
        garble(&pointer, garbage);

        if by_repair {
            let mended = storage.mend(&repository, &Record::Tag(tag("v1"))).await;
            assert!(mended.unwrap(), "{garbage:?}");
        } else {
            let (v1, how) = (tag("v1"), Deletion::new());
            let removed = storage.delete_tag(&repository, &v1, TagExpect::Any, how).await;
            assert_eq!(removed.unwrap(), Some(last), "{garbage:?}");
        }

        assert_eq!(
            deleted(&storage, &repository).await,
            [(last, vec![tag("v1")], false)]
        );
        let left = storage.tag_targets(&repository, all()).await.unwrap();
        assert!(left.items.is_empty(), "{garbage:?}: {left:?}");
        assert!(
            !storage.mend(&repository, &Record::Tag(tag("v1"))).await.unwrap(),
            "once"
        );
    }
}

/// Its history is lost, too.
#[tokio::test]
async fn a_tag_that_never_pointed_anywhere_is_removed() {
    let (root, storage) = open();
    let repository = name("a");
    put(&storage, &repository, manifest("1"), &["v1"]).await;
    let tags = top(root.path()).join("repositories/a/_manifests/tags");
    fs::remove_dir_all(tags.join("v1/index")).unwrap();
    fs::write(tags.join("v1/current/link"), "garbage").unwrap();

    let v1 = tag("v1");
    let removed = storage
        .delete_tag(&repository, &v1, TagExpect::Any, Deletion::new())
        .await;

    assert_eq!(removed.unwrap(), None);
    assert!(!tags.join("v1").exists());
    assert!(deleted(&storage, &repository).await.is_empty());
}

async fn put_referrer(
    storage: &FsStorage,
    repository: &RepositoryName,
    subject: &Digest,
    seed: usize,
) -> Digest {
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type.as_str(),
        "artifactType": "application/vnd.example.signature",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": subject.to_string(), "size": 2 },
        "layers": [],
        "subject": { "mediaType": media_type.as_str(), "digest": subject.to_string(), "size": 2 },
        "annotations": { "seed": seed.to_string() },
    });
    let verified = Verified::of(Algorithm::Sha256, document.to_string().into());
    let digest = *verified.digest();
    let stored = StoredManifest::new(digest, media_type.clone(), verified.bytes().clone());
    let parsed = Manifest::parse_stored(&stored.bytes, &media_type).unwrap();
    let mut put = PutManifest::new(verified, media_type);
    put.referrer = parsed.referrer(digest, stored.bytes.len() as u64);
    storage.put_manifest(repository, put).await.unwrap();
    digest
}

#[tokio::test]
async fn an_index_that_counts_is_completed_and_one_that_does_not_is_left_alone() {
    use registry_core::storage::Referring;
    let (root, storage) = open();
    let repository = name("a");
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let mut referrers = Vec::new();
    for seed in 0..3 {
        referrers.push(put_referrer(&storage, &repository, &subject, seed).await);
    }
    referrers.sort();
    let index = top(root.path()).join("_index/a/_referrers/sha256");
    let listed = async || {
        let found = storage
            .referrers(&repository, Referring::new(&subject), all())
            .await
            .unwrap();
        found
            .items
            .into_iter()
            .map(|descriptor| descriptor.digest)
            .collect::<Vec<_>>()
    };
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(
        storage.fault(&repository, &Record::Referrers).await.unwrap(),
        None,
        "it is built when it is needed"
    );
    assert_eq!(listed().await, referrers);

    fs::remove_dir_all(&index).unwrap();

    assert!(listed().await.is_empty());
    let found = storage.faults(&repository, all()).await.unwrap().items;
    let [fault] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(
        fault.mendable && fault.reason.contains("3 referrers"),
        "{fault:?}"
    );
    let reader = FsStorage::options().read_only().open(root.path()).unwrap();
    let seen = reader.faults(&repository, all()).await.unwrap().items;
    assert!(matches!(&seen[..], [fault] if !fault.mendable), "{seen:?}");
    assert!(storage.mend(&repository, &Record::Referrers).await.unwrap());
    assert_eq!(listed().await, referrers);
    assert!(storage.faults(&repository, all()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_manifest_whose_link_is_written_again_is_listed_as_a_referrer() {
    use registry_core::storage::Referring;
    let (root, storage) = open();
    let repository = name("a");
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let referrer = put_referrer(&storage, &repository, &subject, 1).await;
    fs::write(revision_link(root.path(), &repository, &referrer), "").unwrap();
    let listed = async || {
        let found = storage
            .referrers(&repository, Referring::new(&subject), all())
            .await
            .unwrap();
        found.items.len()
    };
    // Completes the index without it.
    assert_eq!(listed().await, 0);

    assert!(
        storage
            .mend(&repository, &Record::Manifest(referrer))
            .await
            .unwrap()
    );

    assert_eq!(listed().await, 1);
}

#[tokio::test]
async fn a_write_that_fails_mends_nothing_and_can_be_tried_again() {
    let (root, storage) = open();
    let repository = name("a");
    let blob = push(&storage, &repository, &content(1000)).await.digest;
    let link = layer_link(root.path(), &repository, &blob);
    fs::write(&link, "").unwrap();
    let record = Record::Blob(blob);
    {
        let _full = faults::fail(&link, Errno::NOSPC);
        assert!(!storage.mend(&repository, &record).await.unwrap_or(false));
    }
    assert_eq!(fs::read(&link).unwrap(), b"");

    assert!(storage.mend(&repository, &record).await.unwrap());

    assert!(storage.blob(&repository, &blob).await.unwrap().is_some());
}

/// The directory of a link alone means that a client has deleted the record. Without `_layers`, the collector of registry:2
/// deletes the repository.
#[tokio::test]
async fn the_directory_of_a_lost_link_appears_with_the_link_and_a_failure_changes_nothing() {
    let (root, storage) = open();
    let repository = name("a");
    let blob = push(&storage, &repository, &content(1000)).await.digest;
    let link = layer_link(root.path(), &repository, &blob);
    let directory = link.parent().unwrap().to_path_buf();
    fs::remove_dir_all(&directory).unwrap();
    let was_there = Arc::new(AtomicBool::new(true));
    let interfere = {
        let (was_there, directory) = (Arc::clone(&was_there), directory.clone());
        let staging = storage.store().layout.staging();
        move || {
            was_there.store(directory.exists(), Ordering::SeqCst);
            fs::remove_dir_all(&staging).unwrap();
            fs::create_dir(&staging).unwrap();
        }
    };
    storage.store().pauses.at(Point::MendLinkStaged, interfere);
    let record = Record::Blob(blob);

    assert!(storage.mend(&repository, &record).await.is_err());

    assert!(!was_there.load(Ordering::SeqCst) && !directory.exists());
    assert!(storage.store().layout.all_layers(&repository).exists());
    assert!(storage.mend(&repository, &record).await.unwrap());
    assert!(storage.blob(&repository, &blob).await.unwrap().is_some());
}

#[tokio::test]
async fn what_an_operator_left_in_the_quarantine_is_in_nobodys_way() {
    let (root, storage) = open();
    let digest = push(&storage, &name("a"), &content(1000)).await.digest;
    fs::write(blob_data(root.path(), &digest), "damaged").unwrap();
    let Checked::Corrupt(evidence) = storage.check(&digest).await.unwrap() else {
        panic!("it is damaged");
    };
    let place = std::path::PathBuf::from(&evidence.place);
    assert!(storage.quarantine(evidence).await.unwrap());
    assert!(!place.exists());
    let quarantine = top(root.path()).join("_quarantine/sha256");
    fs::write(quarantine.join("notes"), "").unwrap();

    let listed = registry_core::storage::StorageRepair::quarantined(&storage, all())
        .await
        .unwrap();

    let [item] = &listed.items[..] else {
        panic!("{listed:?}");
    };
    assert_eq!((item.size, item.id.number), (7, 1));
    assert!(
        item.since.is_some() && item.reason.contains("7 bytes"),
        "{item:?}"
    );
    assert!(storage.remove_quarantined(&item.id).await.unwrap());
    assert_eq!(storage.quarantined().unwrap(), 0);
    assert!(quarantine.join("notes").exists() && !quarantine.join(digest.hex()).exists());
}

/// A directory in place of the bytes is no file of any digest.
#[tokio::test]
async fn a_directory_in_place_of_content_is_corrupt() {
    let (root, storage) = open();
    let bytes = content(1000);
    let digest = push(&storage, &name("a"), &bytes).await.digest;
    let path = blob_data(root.path(), &digest);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();

    let checked = storage.check(&digest).await.unwrap();

    let Checked::Corrupt(evidence) = checked else {
        panic!("{checked:?}");
    };
    assert!(storage.quarantine(evidence).await.unwrap());
    push(&storage, &name("a"), &bytes).await;
    assert_eq!(read(&storage, &name("a"), &digest).await, Some(bytes));
}
