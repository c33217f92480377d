//! Removals that fail: nothing that is alive is lost, and the next run removes the rest.

use super::*;
use crate::{faults::fail, pauses::Point};
use registry_core::storage::TagExpect;
use rustix::io::Errno;
use std::{path::PathBuf, sync::mpsc};
use tokio::sync::oneshot;

struct Fixture {
    root: TempDir,
    storage: FsStorage,
    dead: Verified<Bytes>,
    layer: Needed,
}

impl Fixture {
    /// Opens a storage with an image that stays, and one in the same repository that was deleted. The deleted one has a
    /// subject, and a media type of its own.
    async fn new() -> Self {
        let root = scratch();
        let storage = FsStorage::open(root.path()).unwrap();
        let (a, layers) = (name("a"), [support::content(100), support::content(200)]);
        for layer in &layers {
            push(&storage, &a, layer).await;
        }
        let [shared, own] = [blob(&layers[0]), blob(&layers[1])];
        put(&storage, &a, &image(&[shared], "alive"), &[shared], &["v1"])
            .await
            .unwrap();
        let subject = blob(&layers[0]).digest;
        let text = format!(
            r#"{{"schemaVersion":2,"layers":[{{"mediaType":"text/plain","digest":"{}","size":200}}],"subject":{{"mediaType":"{}","digest":"{subject}","size":1}}}}"#,
            own.digest,
            MediaType::OCI_MANIFEST,
        );
        let dead = Verified::of(Algorithm::Sha256, Bytes::from(text));
        let mut put = PutManifest::new(dead.clone(), MediaType::parse("application/x.dead+json").unwrap());
        put.needs = vec![own];
        let manifest = Manifest::parse_stored(dead.bytes(), &put.media_type).unwrap();
        put.referrer = manifest.referrer(*dead.digest(), dead.size());
        assert!(put.referrer.is_some());
        put.tags = vec![TagMove::new(tag("dead"))];
        writer(&storage).put_manifest(&a, put).await.unwrap();
        let write = writer(&storage);
        let deleted = write
            .delete_tag(&a, &tag("dead"), TagExpect::Any, Deletion::new())
            .await;
        assert!(deleted.unwrap().is_some());
        Self {
            root,
            storage,
            dead,
            layer: own,
        }
    }

    /// Returns the paths that a collection touches.
    fn paths(&self) -> Vec<PathBuf> {
        let (layout, a) = (&self.storage.store().layout, name("a"));
        let files = [
            layout.revision(&a, self.dead.digest()),
            layout.media_type(&a, self.dead.digest()),
            layout.layer(&a, &self.layer.digest),
            layout.blob(&self.layer.digest),
            layout.blob(self.dead.digest()),
        ];
        let mut paths: BTreeSet<PathBuf> = [layout.collect_state()].into();
        for file in files {
            paths.extend(file.ancestors().take(3).map(Path::to_path_buf));
        }
        paths.into_iter().collect()
    }
}

/// Runs a collection as far as it gets.
async fn try_collect(
    Fixture {
        storage, dead, layer, ..
    }: &Fixture,
) -> Result<()> {
    let run = storage.begin(Terms::new()).await?;
    let a = name("a");
    for level in [
        vec![Victim::Manifest(a.clone(), *dead.digest())],
        vec![Victim::Link(a.clone(), layer.digest)],
        vec![Victim::Data(layer.digest), Victim::Data(*dead.digest())],
    ] {
        let reclaimed = storage.reclaim(&run, &level).await?;
        if !reclaimed
            .iter()
            .all(|item| matches!(item, Reclaimed::Removed { .. }))
        {
            break;
        }
    }
    storage.end(run, Census::new(1)).await
}

#[tokio::test]
async fn a_fault_at_any_path_loses_nothing_and_the_next_run_removes_the_rest() {
    let count = Fixture::new().await.paths().len();
    assert!(count > 10);
    for number in 0..count {
        for errno in [Errno::IO, Errno::NOSPC] {
            let fixture = Fixture::new().await;
            let Fixture { root, storage, .. } = &fixture;
            let path = &fixture.paths()[number];
            let when = format!("after {errno} at {path:?}");
            let fault = fail(path, errno);

            // It says so, or has nothing to do there.
            let _ = try_collect(&fixture).await;

            drop(fault);
            assert_tags_are_whole(storage, &when).await;
            collect(storage).await;
            assert_tags_are_whole(storage, &when).await;
            let left = files(root.path());
            let blobs = left.iter().filter(|file| file.starts_with("blobs/")).count();
            assert_eq!(blobs, 2, "{left:?} {when}");
            assert!(
                !left.iter().any(|file| file.contains("media-types")),
                "{left:?} {when}"
            );
        }
    }
}

#[tokio::test]
async fn what_cannot_be_removed_is_named_and_stops_nothing_else() {
    let fixture = Fixture::new().await;
    let Fixture { storage, dead, .. } = &fixture;
    let link = storage.store().layout.revision(&name("a"), dead.digest());
    let run = storage.begin(Terms::new()).await.unwrap();
    let victims = [
        Victim::Manifest(name("a"), *dead.digest()),
        Victim::Manifest(name("a"), blob(&support::content(3)).digest),
    ];
    let fault = fail(&link, Errno::IO);

    let reclaimed = storage.reclaim(&run, &victims).await.unwrap();

    let [Reclaimed::Failed(error), Reclaimed::Absent] = &reclaimed[..] else {
        panic!("{reclaimed:?}");
    };
    assert!(error.to_string().contains(link.to_str().unwrap()), "{error}");
    drop(fault);
}

/// A run that was dropped has removed what is not durable yet. The next one must not remove what that refers to before.
#[tokio::test]
async fn the_next_run_makes_durable_what_a_dropped_one_removed() {
    let fixture = Fixture::new().await;
    let Fixture { storage, dead, .. } = &fixture;
    let link = storage.store().layout.revision(&name("a"), dead.digest());
    let all = link.parent().unwrap().parent().unwrap();
    let run = storage.begin(Terms::new()).await.unwrap();
    assert!(is_removed(storage, &run, Victim::Manifest(name("a"), *dead.digest())).await);
    drop(run);

    let fault = fail(all, Errno::IO);
    assert!(storage.begin(Terms::new()).await.is_err());

    drop(fault);
    drop(storage.begin(Terms::new()).await.unwrap());
}

/// Whoever decides what goes keeps everything in the repository of such an item.
#[tokio::test]
async fn a_session_or_a_released_manifest_that_cannot_be_read_ends_no_run() {
    let fixture = Fixture::new().await;
    let Fixture { storage, dead, .. } = &fixture;
    let session = support::open_upload(storage, &name("b")).await;
    let layout = &storage.store().layout;
    let faults = [
        fail(&layout.upload(&name("b"), &session.id).record(), Errno::ACCESS),
        fail(&layout.blob(dead.digest()), Errno::IO),
    ];
    let unreadable = storage.uploads(&name("b"), all()).await.unwrap().items;
    assert!(
        matches!(unreadable[..], [Seen::Unreadable { .. }]),
        "{unreadable:?}"
    );
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let explicit = Terms::new().with_grace(day).with_released(true);
    let victims = [Victim::Link(name("a"), fixture.layer.digest)];

    let due = storage.due(&explicit, &victims).await.unwrap();
    assert!(matches!(due[..], [Due::Later(_)]), "{due:?}");
    let run = storage.begin(Terms::new()).await.unwrap();

    drop(faults);
    let [link] = victims;
    assert!(is_removed(storage, &run, Victim::Manifest(name("a"), *dead.digest())).await);
    assert!(is_removed(storage, &run, link).await);
    storage.end(run, Census::new(1)).await.unwrap();
}

/// The process ends between the removal of its link and that of its media type.
#[tokio::test]
async fn the_media_type_of_a_manifest_that_is_gone_goes_with_the_first_run_after_the_opening() {
    let Fixture {
        root, storage, dead, ..
    } = Fixture::new().await;
    std::fs::remove_file(storage.store().layout.revision(&name("a"), dead.digest())).unwrap();
    let left = || {
        files(root.path())
            .into_iter()
            .filter(|file| file.contains("media-types"))
    };
    assert_eq!(left().count(), 1);
    assert!(storage.close().await);
    let storage = relaxed(root.path());

    collect(&storage).await;

    assert_eq!(left().count(), 0);
}

#[tokio::test]
async fn a_state_that_could_not_be_read_at_the_opening_is_read_later_and_not_overwritten() {
    let root = scratch();
    let storage = relaxed(root.path());
    let run = storage.begin(Terms::new()).await.unwrap();
    storage.end(run, Census::new(7)).await.unwrap();
    let state = storage.store().layout.collect_state();
    assert!(storage.close().await);
    let fault = fail(&state, Errno::IO);
    let storage = relaxed(root.path());

    assert!(!storage.is_own());
    let refused = storage.begin(Terms::new()).await.unwrap_err();
    assert!(refused.to_string().contains(state.to_str().unwrap()), "{refused}");

    drop(fault);
    let run = storage.begin(Terms::new()).await.unwrap();
    assert_eq!(run.previous, Some(Census::new(7)));
    storage.end(run, Census::new(8)).await.unwrap();
    assert!(storage.is_own());
    assert!(storage.close().await);
    assert!(relaxed(root.path()).is_own());
}

/// The number in the file is known only when the run begins.
#[tokio::test]
async fn deletions_of_an_unreadable_state_are_counted_in_one_run_only() {
    let root = scratch();
    let storage = relaxed(root.path());
    let images: Vec<_> = ["1", "2", "3", "4"].map(|seed| image(&[], seed)).into();
    for image in &images {
        put(&storage, &name("a"), image, &[], &[]).await.unwrap();
    }
    let run = storage.begin(Terms::new()).await.unwrap();
    storage.end(run, Census::new(4)).await.unwrap();
    let delete = async |storage: &FsStorage, image: &Verified<Bytes>| {
        let a = name("a");
        let deleted = writer(storage).delete_manifest(&a, image.digest(), Deletion::new());
        assert!(deleted.await.unwrap().is_some());
    };
    delete(&storage, &images[0]).await;
    let state = storage.store().layout.collect_state();
    assert!(storage.close().await);
    let fault = fail(&state, Errno::IO);
    let storage = relaxed(root.path());
    delete(&storage, &images[1]).await;
    drop(fault);

    let run = storage.begin(Terms::new()).await.unwrap();
    assert_eq!((run.previous, run.deleted), (Some(Census::new(4)), 2));
    storage.end(run, Census::new(2)).await.unwrap();

    let run = storage.begin(Terms::new()).await.unwrap();
    assert_eq!((run.previous, run.deleted), (Some(Census::new(2)), 0));
}

/// Somebody who makes a backup drops the run, and begins one that removes nothing.
#[tokio::test]
async fn nothing_is_removed_after_a_run_was_dropped_and_another_one_has_begun() {
    let root = scratch();
    let storage = relaxed(root.path());
    for (point, removed) in [(Point::ReclaimBegun, 0), (Point::ReclaimLocked, 1)] {
        let layers = [support::content(100), support::content(200)];
        let mut links = Vec::new();
        for layer in &layers {
            let digest = push(&storage, &name("a"), layer).await.digest;
            links.push(Victim::Link(name("a"), digest));
        }
        let run = storage.begin(Terms::new()).await.unwrap();
        let (reached, is_reached) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        storage.store().pauses.at(point, move || {
            reached.send(()).unwrap();
            may_go_on.recv().unwrap_err();
        });
        tokio::select! {
            reclaimed = storage.reclaim(&run, &links) => panic!("{reclaimed:?}"),
            reached = is_reached => reached.unwrap(),
        }
        drop(run);
        drop(go_on);

        let held = storage.begin(Terms::new()).await.unwrap();

        let left = storage.held_blobs(&name("a"), all()).await.unwrap().items.len();
        assert_eq!(left, links.len() - removed, "{point:?}");
        drop(held);
    }
}
