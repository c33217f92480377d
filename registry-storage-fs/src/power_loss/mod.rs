//! Simulates a loss of power at every point of every operation: everything acknowledged survives.
//!
//! The state of everything that this crate syncs is recorded by inode: the content of a file, the entries of a
//! directory. Whatever differs from that is a write that the power loss may undo. Disks are made for these choices, at
//! each sync and after each acknowledgement:
//!
//! - all writes are lost, or none, as after the end of the process alone;
//! - all names are there, without their content;
//! - each write alone is lost, and each alone is kept;
//! - 20 times an arbitrary half of them.

mod collection;
mod disks;
mod facts;
mod losses;
mod repairs;
mod restoring;
mod retention;
mod steps;

pub(crate) use self::disks::{discarded, published, synced};

use self::{
    disks::{Step, Watched, scratch},
    facts::{Fact, What, check},
    losses::Losses,
    steps::{Scenario, assert_necessary},
};
use crate::{
    Durability, FsStorage,
    store::Store,
    support::{self, manifest, name, push, put, tag, writer},
};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, MediaType, RepositoryName, Storage as _,
    storage::{Deletion, Mount, Need, Needed, PutManifest, TagExpect, TagMove, Verified},
};
use std::{path::Path, thread};

/// Beyond the last acknowledgement.
const END: usize = usize::MAX;

fn media_type(text: &str) -> MediaType {
    MediaType::parse(text).unwrap()
}

/// Returns an image that names these blobs.
fn image(layers: &[&Bytes], seed: &str) -> Verified<Bytes> {
    let descriptor = |bytes: &Bytes| {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        format!(
            r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{}}}"#,
            bytes.len()
        )
    };
    let layers: Vec<String> = layers.iter().map(|layer| descriptor(layer)).collect();
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{},"layers":[{}],"annotations":{{"seed":"{seed}"}}}}"#,
        MediaType::OCI_MANIFEST,
        layers[0],
        layers.join(",")
    );
    Verified::of(Algorithm::Sha256, document.into())
}

fn needs(blobs: &[&Bytes]) -> Vec<Needed> {
    let needed = blobs.iter().map(|bytes| {
        Needed::new(
            Digest::of(Algorithm::Sha256, bytes),
            bytes.len() as u64,
            Need::Blob,
        )
    });
    needed.collect()
}

/// Puts a manifest that needs these blobs.
async fn put_with(
    storage: &FsStorage,
    repository: &RepositoryName,
    manifest: &Verified<Bytes>,
    media_type: &MediaType,
    needs: &[&Bytes],
    tagged: &str,
) {
    let mut put = PutManifest::new(manifest.clone(), media_type.clone());
    put.needs = self::needs(needs);
    put.tags.push(TagMove::new(tag(tagged)));
    let outcome = writer(storage).put_manifest(repository, put).await.unwrap();
    assert!(outcome.failed.is_none());
}

/// Otherwise a verification would report it as lost, and it would keep all of its repository from being collected.
#[tokio::test]
async fn no_manifest_is_there_without_its_bytes_however_its_put_ended() {
    let a = name("a");
    let layer = Bytes::from("layer");
    let watched = Watched::open(scratch());
    push(&watched.storage, &a, &layer).await;
    watched.acknowledged(); // 1
    let odd = media_type("application/vnd.example.odd+json");
    put_with(&watched.storage, &a, &image(&[&layer], ""), &odd, &[&layer], "v1").await;
    watched.acknowledged(); // 2

    let what = What::Sound;
    let fact = Fact {
        from: 0,
        until: END,
        what,
    };
    check(&watched.end().0, &[fact]).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_and_what_was_deleted_stays_away() {
    let (a, b) = (name("a"), name("b"));
    let (layer, config) = (Bytes::from("layer"), Bytes::from("config"));
    let image = media_type(MediaType::OCI_MANIFEST);
    let odd = media_type("application/vnd.example.odd+json");
    let (first, second) = (manifest("first"), manifest("second"));
    let digest_of = |bytes: &Bytes| Digest::of(Algorithm::Sha256, bytes);
    let watched = Watched::open(scratch());
    let storage = &watched.storage;
    let write = writer(storage);

    push(storage, &a, &layer).await;
    watched.acknowledged(); // 1
    push(storage, &a, &config).await;
    watched.acknowledged(); // 2
    put_with(storage, &a, &first, &image, &[&layer, &config], "v1").await;
    watched.acknowledged(); // 3
    // Of another type than its bytes say, which a file of its own keeps; and a tag that moves.
    put_with(storage, &a, &second, &odd, &[&layer], "v1").await;
    watched.acknowledged(); // 4
    write
        .mount(&b, Mount::new(&a, &digest_of(&layer)))
        .await
        .unwrap()
        .unwrap();
    watched.acknowledged(); // 5
    put_with(storage, &b, &first, &image, &[&layer], "v2").await;
    watched.acknowledged(); // 6
    write
        .delete_tag(&b, &tag("v2"), TagExpect::Any, Deletion::new())
        .await
        .unwrap()
        .unwrap();
    watched.acknowledged(); // 7
    write
        .delete_manifest(&a, second.digest(), Deletion::new())
        .await
        .unwrap()
        .unwrap();
    watched.acknowledged(); // 8
    assert!(
        write
            .delete_blob(&a, &digest_of(&config), Deletion::new())
            .await
            .unwrap()
    );
    watched.acknowledged(); // 9

    let fact = |from, until, what| Fact { from, until, what };
    check(
        &watched.end().0,
        &[
            fact(1, END, What::Blob(a.clone(), layer.clone())),
            fact(2, 8, What::Blob(a.clone(), config.clone())),
            fact(3, END, What::Manifest(a.clone(), first.clone(), image.clone())),
            fact(3, 3, What::Tag(a.clone(), "v1", Some(*first.digest()))),
            fact(4, 7, What::Manifest(a.clone(), second.clone(), odd.clone())),
            fact(4, 7, What::Tag(a.clone(), "v1", Some(*second.digest()))),
            fact(5, END, What::Blob(b.clone(), layer.clone())),
            fact(6, END, What::Manifest(b.clone(), first.clone(), image.clone())),
            fact(6, 6, What::Tag(b.clone(), "v2", Some(*first.digest()))),
            fact(7, END, What::Tag(b.clone(), "v2", None)),
            fact(8, END, What::Tag(a.clone(), "v1", None)),
            fact(8, END, What::NoManifest(a.clone(), *second.digest())),
            fact(9, END, What::NoBlob(a.clone(), digest_of(&config))),
            fact(4, END, What::Restorable(a.clone(), "v1", second.clone())),
            fact(6, END, What::Restorable(b.clone(), "v2", first.clone())),
            fact(7, END, What::Recorded(b.clone(), *first.digest(), &["v2"])),
            fact(8, END, What::Recorded(a.clone(), *second.digest(), &["v1"])),
        ],
    )
    .await;
}

/// A blob that a process left unsynced, because it died or need not sync, is synced by the manifest that needs it.
#[tokio::test]
async fn what_a_manifest_needs_lasts_as_it_does_whoever_left_it() {
    let (a, b) = (name("a"), name("b"));
    let (layer, mounted) = (Bytes::from("layer"), Bytes::from("mounted"));
    let (child, cached) = (manifest("child"), Bytes::from("cached"));
    let root = scratch();
    let relaxed = FsStorage::options().durability(Durability::Relaxed);
    let dying = relaxed.open(root.path()).unwrap();
    push(&dying, &a, &layer).await;
    push(&dying, &b, &mounted).await;
    push(&dying, &a, &cached).await;
    put(&dying, &a, child.clone(), &[]).await;
    drop(dying);

    let watched = Watched::open(root);
    let storage = &watched.storage;
    let digest = Digest::of(Algorithm::Sha256, &layer);
    assert!(storage.blob(&a, &digest).await.unwrap().is_some());
    let image = media_type(MediaType::OCI_MANIFEST);
    let needing = manifest("needing");
    put_with(storage, &a, &needing, &image, &[&layer], "v1").await;
    watched.acknowledged();
    let digest = Digest::of(Algorithm::Sha256, &mounted);
    writer(storage)
        .mount(&a, Mount::new(&b, &digest))
        .await
        .unwrap()
        .unwrap();
    watched.acknowledged();
    let index = manifest("index");
    let mut put = PutManifest::new(index.clone(), image.clone());
    put.needs
        .push(Needed::new(*child.digest(), child.size(), Need::Manifest));
    writer(storage).put_manifest(&a, put).await.unwrap();
    watched.acknowledged();
    let cache = manifest("cache");
    let mut put = PutManifest::new(cache.clone(), image.clone());
    put.needs.push(Needed::new(
        Digest::of(Algorithm::Sha256, &cached),
        cached.len() as u64,
        Need::Either,
    ));
    writer(storage).put_manifest(&a, put).await.unwrap();
    watched.acknowledged();

    let fact = |from, what| Fact {
        from,
        until: usize::MAX,
        what,
    };
    check(
        &watched.end().0,
        &[
            fact(1, What::Manifest(a.clone(), needing, image.clone())),
            fact(1, What::Blob(a.clone(), layer)),
            fact(2, What::Blob(a.clone(), mounted)),
            fact(3, What::Manifest(a.clone(), index, image.clone())),
            fact(3, What::Manifest(a.clone(), child, image.clone())),
            fact(4, What::Manifest(a.clone(), cache, image)),
            fact(4, What::Blob(a, cached)),
        ],
    )
    .await;
}

/// The other operation has made its files visible, and has gone no further.
#[tokio::test]
async fn what_a_manifest_needs_lasts_although_its_own_push_still_runs() {
    let a = name("a");
    let layer = Bytes::from("layer");
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let watched = Watched::open(scratch());
    let storage = &watched.storage;
    let store = storage.store();
    let mut running = store.disk.changes();
    running.put(&store.layout.blob(&digest), &layer).unwrap();
    running
        .put(&store.layout.layer(&a, &digest), digest.to_string().as_bytes())
        .unwrap();

    let needing = manifest("needing");
    let image = media_type(MediaType::OCI_MANIFEST);
    put_with(storage, &a, &needing, &image, &[&layer], "v1").await;
    watched.acknowledged();
    drop(running);

    let facts = [What::Manifest(a.clone(), needing, image), What::Blob(a, layer)].map(|what| Fact {
        from: 1,
        until: usize::MAX,
        what,
    });
    check(&watched.end().0, &facts).await;
}

/// Otherwise each manifest of an image of many layers would sync all of them again.
#[tokio::test]
async fn what_this_process_has_made_last_is_not_synced_again() {
    let a = name("a");
    let layer = Bytes::from("layer");
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let root = scratch();
    let storage = FsStorage::open(root.path()).unwrap();
    let image = media_type(MediaType::OCI_MANIFEST);
    let store = storage.store();
    let paths = [store.layout.blob(&digest), store.layout.layer(&a, &digest)];
    let are_durable = || paths.iter().all(|path| store.disk.is_durable(path));

    push(&storage, &a, &layer).await;
    assert!(are_durable());
    assert!(
        writer(&storage)
            .delete_blob(&a, &digest, Deletion::new())
            .await
            .unwrap()
    );
    assert!(!are_durable());
    push(&storage, &a, &layer).await;
    assert!(are_durable());
    let child = manifest("child");
    put_with(&storage, &a, &child, &image, &[&layer], "v1").await;
    let link = store.layout.revision(&a, child.digest());
    assert!(store.disk.is_durable(&link) && store.disk.is_durable(&store.layout.blob(child.digest())));

    let relaxed = FsStorage::options().durability(Durability::Relaxed);
    drop(storage);
    let storage = relaxed.open(root.path()).unwrap();
    put_with(&storage, &a, &manifest("needing"), &image, &[&layer], "v1").await;
    assert!(!storage.store().disk.is_durable(&paths[0]), "nothing was synced");
}

/// A directory is removed after its sync and before it is remembered as durable. An operation that creates it again
/// must sync it again.
#[tokio::test]
async fn a_directory_that_goes_away_while_it_is_made_to_last_lasts_when_it_is_made_again() {
    let (kept, emptied) = (name("p/kept"), name("p/emptied"));
    let layer = Bytes::from("layer");
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let watched = Watched::open(scratch());
    let storage = &watched.storage;
    push(storage, &kept, &layer).await;
    watched.acknowledged(); // 1

    let layout = &storage.store().layout;
    let link = layout.layer(&emptied, &digest);
    let mut running = storage.store().disk.changes();
    running.put(&link, digest.to_string().as_bytes()).unwrap();
    // The last of the directories that this syncs: the one that has the repository's.
    let shared = layout.repositories().join("p");
    let (handle, holding) = (storage.clone(), link.clone());
    watched.meanwhile(shared.clone(), move || {
        let Store { disk, layout, .. } = handle.store();
        assert!(disk.changes().remove(&holding).unwrap());
        disk.remove_empty(holding.parent().unwrap(), &layout.repositories());
        assert!(!shared.join("emptied").exists());
    });
    running.settle().unwrap();
    assert!(!link.exists());
    push(storage, &emptied, &layer).await;
    watched.acknowledged(); // 2

    let facts = [(1, kept), (2, emptied)].map(|(from, repository)| Fact {
        from,
        until: usize::MAX,
        what: What::Blob(repository, layer.clone()),
    });
    check(&watched.end().0, &facts).await;
}

/// Directories come and go under the pushes that need them.
#[test]
fn pushes_last_beside_sessions_that_are_opened_and_cancelled_under_the_same_directories() {
    let watched = Watched::losing(scratch(), Losses::Rough);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let facts = thread::scope(|scope| {
        let working = (0..8).map(|worker| {
            let (watched, runtime) = (&watched, runtime.handle());
            scope.spawn(move || runtime.block_on(open_cancel_and_push(watched, worker)))
        });
        let working: Vec<_> = working.collect();
        let facts = working.into_iter().map(|worker| worker.join().unwrap());
        facts.collect::<Vec<_>>()
    });

    let left = support::files(&support::top(watched.root.path()).join("repositories"));
    assert_eq!(left.len(), facts.len(), "{left:?}");
    runtime.block_on(check(&watched.end().0, &facts));
}

async fn open_cancel_and_push(watched: &Watched, worker: usize) -> Fact {
    let storage = &watched.storage;
    let come_and_go = async || {
        for round in 0..20 {
            let repository = name(&format!("p/q/{}/{}", round % 2, (worker + round) % 4));
            let state = support::open_upload(storage, &repository).await;
            assert!(writer(storage).cancel(&repository, &state.id).await.unwrap());
        }
    };
    come_and_go().await;
    let repository = name(&format!("p/q/{}/{}/pushed", worker % 2, worker % 4));
    let layer = Bytes::from(format!("layer {worker}"));
    push(storage, &repository, &layer).await;
    let from = watched.acknowledged();
    come_and_go().await;
    Fact {
        from,
        until: usize::MAX,
        what: What::Blob(repository, layer),
    }
}
