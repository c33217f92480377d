//! An outage is never "not found": a failed system call is an error. One unreadable path does not make the others
//! unavailable.

use crate::{
    FsStorage,
    faults::{Fault, fail},
    support::{self, all, content, manifest, name, open_upload, push, put, tag},
};
use registry_core::{
    Algorithm, Digest, MediaType, RepositoryName, Storage, Tag,
    maintenance::expire_uploads,
    storage::{Deletion, Listing, Page, PutManifest, Referring, Result, Seen, StorageError},
};
use rustix::io::Errno;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

/// Errors of a failing disk, a lost mount or an exhausted process.
const OUTAGES: [Errno; 6] = [
    Errno::IO,
    Errno::STALE,
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NXIO,
];
/// Errors that concern a single path.
const OWN: [Errno; 4] = [Errno::ACCESS, Errno::PERM, Errno::LOOP, Errno::NOTDIR];

/// Repositories `a`, `a/b`, `b` and `c`, each with a manifest that has two tags.
async fn filled() -> (TempDir, FsStorage) {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    for repository in ["a", "a/b", "b", "c"] {
        push(&storage, &name(repository), &content(10)).await;
        put(&storage, &name(repository), manifest("1"), &["v1", "v2"]).await;
    }
    (root, storage)
}

fn repository(root: &TempDir, path: &str) -> PathBuf {
    support::top(root.path()).join("repositories").join(path)
}

async fn repositories(storage: &FsStorage) -> Result<Vec<String>> {
    let listed = storage.repositories(all()).await?;
    Ok(listed.items.iter().map(RepositoryName::to_string).collect())
}

async fn tags(storage: &FsStorage, repository: &str) -> Result<Option<Vec<String>>> {
    let listed = storage.tags(&name(repository), all()).await?;
    Ok(listed.map(|listed| listed.items.iter().map(Tag::to_string).collect()))
}

fn is_outage<T>(result: &Result<T>) -> bool {
    matches!(result, Err(StorageError::Internal { .. }))
}

#[tokio::test]
async fn a_repository_that_may_not_be_read_is_left_out_and_asking_for_it_is_an_error() {
    let (root, storage) = filled().await;
    let v1 = tag("v1").into();
    let subject = *manifest("1").digest();
    for errno in OWN {
        for (broken, listed) in [
            ("b/_manifests", &["a", "a/b", "c"][..]),
            ("b", &["a", "a/b", "b", "c"]),
            ("a", &["a", "b", "c"]),
        ] {
            let _fault = fail(&repository(&root, broken), errno);
            assert_eq!(
                repositories(&storage).await.unwrap(),
                listed,
                "{errno} at {broken}"
            );
        }

        let _fault = fail(&repository(&root, "b/_manifests"), errno);
        assert!(is_outage(&tags(&storage, "b").await), "{errno}");
        let referrers = storage
            .referrers(&name("b"), Referring::new(&subject), all())
            .await;
        assert!(is_outage(&referrers), "{errno}");
        let _fault = fail(&repository(&root, "b/_manifests/tags/v1/current/link"), errno);
        assert!(is_outage(&storage.manifest(&name("b"), &v1).await), "{errno}");
    }
    assert_eq!(repositories(&storage).await.unwrap(), ["a", "a/b", "b", "c"]);
}

#[tokio::test]
async fn a_failing_disk_fails_the_lists() {
    let (root, storage) = filled().await;
    for errno in OUTAGES {
        for broken in ["", "a", "b/_manifests", "a/b"] {
            let _fault = fail(&repository(&root, broken.trim_end_matches('/')), errno);
            assert!(is_outage(&repositories(&storage).await), "{errno} at {broken}");
        }
        for broken in [
            "b/_manifests",
            "b/_manifests/tags",
            "b/_manifests/tags/v2/current/link",
        ] {
            let _fault = fail(&repository(&root, broken), errno);
            assert!(is_outage(&tags(&storage, "b").await), "{errno} at {broken}");
        }
    }
    for errno in OWN {
        let _fault = fail(&repository(&root, ""), errno);
        assert!(is_outage(&repositories(&storage).await), "the root: {errno}");
    }
    assert_eq!(tags(&storage, "b").await.unwrap().unwrap(), ["v1", "v2"]);
}

#[tokio::test]
async fn a_page_that_does_not_reach_what_cannot_be_read_is_whole() {
    let (root, storage) = filled().await;
    let _fault = fail(&repository(&root, "c/_manifests"), Errno::IO);
    let page = Page::first(2);

    let listed = storage.repositories(page).await.unwrap();

    assert_eq!(listed.items, [name("a"), name("a/b")]);
    assert!(listed.more);
}

/// Uses real files and links instead of injected errors.
#[tokio::test]
async fn files_and_loops_where_repositories_belong_are_left_out() {
    let (root, storage) = filled().await;
    fs::write(repository(&root, "notes"), "not a repository").unwrap();
    symlink(repository(&root, "loop"), repository(&root, "loop")).unwrap();
    fs::remove_dir_all(repository(&root, "c/_manifests")).unwrap();
    fs::write(repository(&root, "c/_manifests"), "not a directory").unwrap();
    fs::write(repository(&root, "b/_manifests/tags/stray"), "no tag").unwrap();
    symlink("v3", repository(&root, "b/_manifests/tags/v3")).unwrap();

    assert_eq!(repositories(&storage).await.unwrap(), ["a", "a/b", "b"]);
    for repository in ["notes", "notes/below", "loop", "c"] {
        assert!(is_outage(&tags(&storage, repository).await), "{repository}");
    }
    assert_eq!(tags(&storage, "absent").await.unwrap(), None);
    assert_eq!(tags(&storage, "b").await.unwrap().unwrap(), ["v1", "v2"]);
    fs::remove_file(repository(&root, "b/_manifests/tags/v3")).unwrap();
    let digest = *manifest("1").digest();
    let deleted = support::writer(&storage)
        .delete_manifest(&name("b"), &digest, Deletion::new())
        .await;
    assert_eq!(deleted.unwrap().unwrap(), [tag("v1"), tag("v2")]);
}

#[tokio::test]
async fn the_log_has_it_once_until_it_changes() {
    let (root, storage) = filled().await;
    let store = storage.store();
    let log = support::log::Log::capture();
    let said = || {
        store.repositories(&all()).unwrap();
        // Where the repository itself may not be read, this fails.
        let _ = store.tags(&name("c"), &all());
        log.take().lines().count()
    };
    for broken in [
        &["b/_manifests"][..],
        &["a"],
        // As when somebody takes all rights from a directory.
        &["b/_manifests", "b"],
        &["c/_manifests/tags/v1/current/link"],
    ] {
        let faults = |errno: Errno| -> Vec<Fault> {
            let paths = broken.iter().map(|path| repository(&root, path));
            paths.map(|path| fail(&path, errno)).collect()
        };
        for errno in [Errno::ACCESS, Errno::ACCESS, Errno::PERM, Errno::PERM] {
            let fault = faults(errno);
            assert_eq!([said(), said()], [1, 0], "{broken:?}");
            drop(fault);
            assert_eq!(said(), 0, "{broken:?}: it can be read again");
        }
        let fault = faults(Errno::ACCESS);
        assert_eq!(said(), 1, "{broken:?}");
        let other = faults(Errno::PERM);
        assert_eq!(said(), 1, "{broken:?}: another reason is news");
        drop((fault, other));
        assert_eq!(said(), 0, "{broken:?}");
    }
}

/// Counts the items that can be read, and those that cannot.
fn counted<T, K>(listing: Result<Listing<Seen<T, K>>>) -> (usize, usize) {
    let items = listing.unwrap().items;
    let all = items.len();
    let whole = items.into_iter().filter_map(Seen::whole).count();
    (whole, all - whole)
}

#[tokio::test]
async fn inspection_shows_what_cannot_be_read_and_expiry_goes_on() {
    let (root, storage) = filled().await;
    let inspect = storage.inspect().unwrap();
    let digest = Digest::of(Algorithm::Sha256, &content(10));
    let layout = &storage.store().layout;
    let blobs = inspect.blobs(all()).await.unwrap().items.len();
    let mut sessions = Vec::new();
    for repository in ["a", "b", "c", "c"] {
        sessions.push(open_upload(&storage, &name(repository)).await.id);
    }
    let session = layout.upload(&name("c"), &sessions[3]);
    for errno in OWN.into_iter().chain(OUTAGES) {
        let faults = |paths: &[&Path]| -> Vec<Fault> { paths.iter().map(|path| fail(path, errno)).collect() };

        let _faults = faults(&[
            &layout.blob(&digest),
            &layout.layer(&name("a"), &digest),
            &layout.revision(&name("a"), manifest("1").digest()),
            &repository(&root, "b/_uploads"),
            &repository(&root, "b/_manifests/tags/v1/current/link"),
            &session.started(),
        ]);
        assert_eq!(counted(inspect.blobs(all()).await), (blobs - 1, 1), "{errno}");
        assert_eq!(
            counted(inspect.held_blobs(&name("a"), all()).await),
            (0, 1),
            "{errno}"
        );
        assert_eq!(
            counted(inspect.manifests(&name("a"), all()).await),
            (0, 1),
            "{errno}"
        );
        assert_eq!(
            counted(inspect.tag_targets(&name("b"), all()).await),
            (1, 1),
            "{errno}"
        );
        assert!(
            is_outage(&inspect.tags_of(&name("b"), manifest("1").digest(), all()).await),
            "{errno}"
        );
        let uploading = inspect.uploading(all()).await.unwrap().items;
        let keys: Vec<_> = uploading.iter().map(Seen::key).collect();
        assert_eq!(keys, [&name("a"), &name("b"), &name("c")], "{errno}");
        assert!(matches!(uploading[1], Seen::Unreadable { .. }), "{errno}");
        assert!(is_outage(&inspect.uploads(&name("b"), all()).await), "{errno}");
        assert_eq!(
            counted(inspect.uploads(&name("c"), all()).await),
            (1, 1),
            "{errno}"
        );
    }

    let reader = FsStorage::options().read_only().open(root.path()).unwrap();
    for errno in OWN.into_iter().chain(OUTAGES) {
        let _fault = fail(&repository(&root, "b/_uploads"), errno);
        let _other = fail(&repository(&root, "a/b"), errno);
        let uploading = reader.inspect().unwrap().uploading(all()).await.unwrap().items;
        assert!(uploading.len() > 2, "{errno}");
        let whole: Vec<_> = uploading.into_iter().filter_map(Seen::whole).collect();
        assert_eq!(whole, [name("a"), name("c")], "{errno}");
    }

    let _fault = fail(&repository(&root, "b/_uploads"), Errno::IO);
    let _fault = fail(&session.started(), Errno::IO);
    let later = SystemTime::now() + Duration::from_secs(24 * 60 * 60);
    let report = expire_uploads(&storage, later).await.unwrap();
    assert_eq!((report.expired, report.failed), (2, 2), "{report:?}");
}

#[tokio::test]
async fn inspection_shows_a_repository_that_cannot_be_read_and_fails_where_more_may_be() {
    let (root, storage) = filled().await;
    fs::write(repository(&root, "notes"), "not a repository").unwrap();
    let inspect = storage.inspect().unwrap();
    let listed = async || inspect.all_repositories(all()).await;
    assert_eq!(counted(listed().await), (4, 0), "a stray file is none");
    for errno in OWN.into_iter().chain(OUTAGES) {
        for (broken, whole) in [("b/_manifests", 3), ("b", 3), ("a", 2)] {
            let _fault = fail(&repository(&root, broken), errno);
            if errno != Errno::NOTDIR || broken == "b/_manifests" {
                assert_eq!(counted(listed().await), (whole, 1), "{errno} at {broken}");
            }
        }
        let _fault = fail(&repository(&root, ""), errno);
        assert!(is_outage(&listed().await), "{errno}");
    }
}

#[tokio::test]
async fn blobs_whose_directory_cannot_be_read_fail_the_list_of_all() {
    let (_root, storage) = filled().await;
    let layout = &storage.store().layout;
    let data = layout.blob(&Digest::of(Algorithm::Sha256, &content(10)));
    let fan = data.ancestors().nth(2).unwrap();
    let inspect = storage.inspect().unwrap();
    let whole = inspect.blobs(all()).await.unwrap().items.len();
    for errno in OWN.into_iter().chain(OUTAGES) {
        let _fault = fail(fan, errno);
        let listed = inspect.blobs(all()).await;
        if errno == Errno::NOTDIR {
            assert_eq!(counted(listed), (whole - 1, 0), "a stray file holds no blobs");
        } else {
            assert!(is_outage(&listed), "{errno}");
        }
    }
}

/// A move that failed may have been made or not.
#[tokio::test]
async fn a_tag_whose_move_failed_goes_with_the_manifest_that_it_points_at() {
    let (b, second) = (name("b"), manifest("2"));
    let to = *second.digest();
    for (is_moved, gone) in [(false, ["v1", "v2"]), (true, ["v1", "v3"])] {
        let (_root, storage) = filled().await;
        put(&storage, &b, second.clone(), &["v3"]).await;
        put(&storage, &b, manifest("0"), &["v0"]).await;
        let write = support::writer(&storage);
        // From now on the index is kept.
        write
            .delete_manifest(&b, manifest("0").digest(), Deletion::new())
            .await
            .unwrap();
        let paths = storage.store().layout.tag(&b, &tag("v1"));
        let current = paths.current();
        // Nothing is written before the first, and all is before the second.
        let broken = if is_moved {
            current.parent().unwrap().to_path_buf()
        } else {
            paths.index(&to)
        };
        let fault = fail(&broken, Errno::IO);
        let outcome = support::try_put(&storage, &b, second.clone(), &["v1"]).await;
        assert!(outcome.unwrap().failed.is_some());
        drop(fault);
        let points_at = if is_moved { to } else { *manifest("1").digest() };
        assert_eq!(fs::read_to_string(&current).unwrap(), points_at.to_string());

        let deleted = write
            .delete_manifest(&b, &points_at, Deletion::new())
            .await
            .unwrap();

        assert_eq!(deleted.unwrap(), gone.map(tag));
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_logged_once_and_again_when_it_was_whole_meanwhile() {
    let (_root, storage) = filled().await;
    let store = storage.store();
    let image = manifest("1");
    let data = store.layout.blob(image.digest());
    let log = support::log::Log::capture();
    let looked = || {
        let found = store.manifest(&name("a"), &(*image.digest()).into()).unwrap();
        (found.is_some(), log.take().lines().count())
    };

    fs::write(&data, "damaged").unwrap();
    assert_eq!([looked(), looked()], [(false, 1), (false, 0)]);
    fs::write(&data, image.bytes()).unwrap();
    assert_eq!(looked(), (true, 0));
    fs::write(&data, "damaged").unwrap();
    assert_eq!(looked(), (false, 1));
}

#[tokio::test]
async fn a_blob_that_is_no_file_or_empty_is_logged_once_until_that_changes() {
    let (_root, storage) = filled().await;
    let store = storage.store();
    let digest = Digest::of(Algorithm::Sha256, &content(10));
    let data = store.layout.blob(&digest);
    let log = support::log::Log::capture();
    let looked = || {
        let found = store.blob(&name("a"), &digest).unwrap();
        (found.is_some(), log.take().lines().count())
    };

    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    assert_eq!([looked(), looked()], [(false, 1), (false, 0)]);
    fs::remove_dir(&data).unwrap();
    fs::write(&data, "").unwrap();
    assert_eq!([looked(), looked()], [(false, 1), (false, 0)]);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_written_makes_no_repository() {
    let (root, storage) = filled().await;
    let image = manifest("new");
    let _fault = fail(&storage.store().layout.blob(image.digest()), Errno::IO);

    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let failed = support::writer(&storage)
        .put_manifest(&name("new"), PutManifest::new(image, media_type))
        .await;

    assert!(is_outage(&failed));
    assert_eq!(repositories(&storage).await.unwrap(), ["a", "a/b", "b", "c"]);
    assert_eq!(tags(&storage, "new").await.unwrap(), None);
    assert!(!repository(&root, "new").exists());
}
