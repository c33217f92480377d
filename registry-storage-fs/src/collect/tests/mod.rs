//! Tests of collections on disk, beyond the contract's: pauses, faults, directories, cost.

mod accounts;
mod cost;
mod directories;
mod faults;
mod pairs;
mod races;

use crate::{
    Durability, FsStorage,
    closures::named_by,
    support::{self, all, name, push, tag, writer},
};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, MediaType, RepositoryName, Storage,
    manifest::Manifest,
    storage::{
        Census, Deletion, Document, Due, Need, Needed, PutManifest, PutOutcome, Reclaimed, Result, Run, Seen,
        StorageCollect as _, StorageInspect as _, TagMove, Terms, Verified, Victim,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use tempfile::TempDir;

/// Creates a directory in memory if possible.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn relaxed(root: &Path) -> FsStorage {
    let relaxed = FsStorage::options().durability(Durability::Relaxed);
    relaxed.open(root).unwrap()
}

/// A document that names other content.
fn document(media_type: &str, field: &str, named: &[Needed], seed: &str) -> Verified<Bytes> {
    let entries = named.iter().map(|needed| {
        let kind = match needed.need {
            Need::Manifest => MediaType::OCI_MANIFEST,
            _ => "application/octet-stream",
        };
        let Needed { digest, size, .. } = needed;
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
    });
    let entries = entries.collect::<Vec<_>>().join(",");
    let annotations = format!(r#"{{"seed":"{seed}"}}"#);
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","{field}":[{entries}],"annotations":{annotations}}}"#
    );
    Verified::of(Algorithm::Sha256, document.into())
}

fn image(layers: &[Needed], seed: &str) -> Verified<Bytes> {
    document(MediaType::OCI_MANIFEST, "layers", layers, seed)
}

fn index(entries: &[Needed], seed: &str) -> Verified<Bytes> {
    document(MediaType::OCI_INDEX, "manifests", entries, seed)
}

fn blob(bytes: &Bytes) -> Needed {
    Needed::new(
        Digest::of(Algorithm::Sha256, bytes),
        bytes.len() as u64,
        Need::Blob,
    )
}

fn child(document: &Verified<Bytes>) -> Needed {
    Needed::new(*document.digest(), document.size(), Need::Manifest)
}

/// Puts a manifest that needs all of `needs`.
async fn put(
    storage: &FsStorage,
    repository: &RepositoryName,
    document: &Verified<Bytes>,
    needs: &[Needed],
    tags: &[&str],
) -> Result<PutOutcome> {
    let media_type = Manifest::sniff_media_type(document.bytes());
    let mut put = PutManifest::new(document.clone(), media_type);
    put.needs = needs.to_vec();
    put.tags = tags.iter().map(|text| TagMove::new(tag(text))).collect();
    writer(storage).put_manifest(repository, put).await
}

async fn reclaim(storage: &FsStorage, run: &Run, victim: Victim) -> Reclaimed {
    let mut reclaimed = storage.reclaim(run, &[victim]).await.unwrap();
    reclaimed.pop().unwrap()
}

async fn is_removed(storage: &FsStorage, run: &Run, victim: Victim) -> bool {
    match reclaim(storage, run, victim).await {
        Reclaimed::Removed { .. } => true,
        Reclaimed::Failed(error) => panic!("{error}"),
        _ => false,
    }
}

fn whole<T: std::fmt::Debug, K: std::fmt::Debug>(seen: Seen<T, K>) -> T {
    match seen {
        Seen::Whole(item) => item,
        other => panic!("{other:?}"),
    }
}

/// Everything that is stored, as an inspection sees it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stored {
    /// Manifests by repository, with what they name.
    manifests: BTreeMap<(RepositoryName, Digest), Vec<Digest>>,
    tagged: BTreeSet<(RepositoryName, Digest)>,
    /// Links by repository, with their targets.
    links: BTreeMap<(RepositoryName, Digest), Digest>,
    data: BTreeSet<Digest>,
    repositories: BTreeSet<RepositoryName>,
}

impl Stored {
    async fn read(storage: &FsStorage) -> Self {
        let mut stored = Self::default();
        let data = storage.blobs(all()).await.unwrap().items;
        stored
            .data
            .extend(data.into_iter().map(|seen| whole(seen).digest));
        for repository in storage.all_repositories(all()).await.unwrap().items {
            let repository = whole(repository);
            for held in storage.manifests(&repository, all()).await.unwrap().items {
                let digest = whole(held).digest;
                let named = match storage.document(&repository, &digest).await.unwrap() {
                    Document::Whole(stored) => {
                        named_by(&stored).iter().map(|named| named.item.digest).collect()
                    }
                    other => panic!("{other:?}"),
                };
                stored.manifests.insert((repository.clone(), digest), named);
            }
            for tagged in storage.tag_targets(&repository, all()).await.unwrap().items {
                stored.tagged.insert((repository.clone(), whole(tagged).digest));
            }
            for held in storage.held_blobs(&repository, all()).await.unwrap().items {
                let held = whole(held);
                stored
                    .links
                    .insert((repository.clone(), held.digest), held.stored);
            }
            stored.repositories.insert(repository);
        }
        stored
    }

    /// Returns true if a manifest that stays names this content of the same repository.
    fn is_named(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        let mut of_repository = self.manifests.iter().filter(|((of, _), _)| of == repository);
        of_repository.any(|(_, named)| named.contains(digest))
    }
}

/// Removes all that no tag refers to, in a run that has begun.
async fn sweep(storage: &FsStorage, run: &Run) {
    let mut stored = Stored::read(storage).await;
    let mut spared = BTreeSet::new();
    // Parents before children: a manifest is tried once nothing names it any more.
    loop {
        let dead = stored.manifests.keys().find(|(repository, digest)| {
            let key = (repository.clone(), *digest);
            !stored.tagged.contains(&key) && !spared.contains(&key) && !stored.is_named(repository, digest)
        });
        let Some((repository, digest)) = dead.cloned() else {
            break;
        };
        if is_removed(storage, run, Victim::Manifest(repository.clone(), digest)).await {
            stored.manifests.remove(&(repository, digest));
        } else {
            spared.insert((repository, digest));
        }
    }
    // What was pushed since the run began counts, too.
    let stored = Stored::read(storage).await;
    let dead = stored
        .links
        .keys()
        .filter(|(repository, digest)| !stored.is_named(repository, digest));
    for (repository, digest) in dead {
        is_removed(storage, run, Victim::Link(repository.clone(), *digest)).await;
    }
    let stored = Stored::read(storage).await;
    let mut held: BTreeSet<Digest> = stored.links.values().copied().collect();
    held.extend(stored.manifests.keys().map(|(_, digest)| *digest));
    for digest in stored.data.difference(&held) {
        is_removed(storage, run, Victim::Data(*digest)).await;
    }
    for repository in &stored.repositories {
        is_removed(storage, run, Victim::Repository(repository.clone())).await;
    }
}

/// Runs a whole collection, which removes all that no tag refers to and that nobody was promised since it began.
async fn collect(storage: &FsStorage) {
    let run = storage.begin(Terms::new()).await.unwrap();
    sweep(storage, &run).await;
    let census = Census::new(0).with_complete(true);
    storage.end(run, census).await.unwrap();
}

/// Asserts that every tag's closure exists, with its bytes.
async fn assert_tags_are_whole(storage: &FsStorage, when: &str) {
    let stored = Stored::read(storage).await;
    let missing = |repository: &RepositoryName, digest: &Digest| {
        let key = (repository.clone(), *digest);
        let target = match stored.manifests.contains_key(&key) {
            true => Some(digest),
            false => stored.links.get(&key),
        };
        !target.is_some_and(|target| stored.data.contains(target))
    };
    for (repository, root) in &stored.tagged {
        let mut unread = vec![*root];
        while let Some(digest) = unread.pop() {
            assert!(
                !missing(repository, &digest),
                "{repository}@{digest} below {root} is missing {when}"
            );
            unread.extend(
                stored
                    .manifests
                    .get(&(repository.clone(), digest))
                    .into_iter()
                    .flatten(),
            );
        }
    }
}

/// Returns the files of the content.
fn files(root: &Path) -> Vec<String> {
    let all = support::files(&support::top(root));
    let content = |file: &String| file.starts_with("blobs/") || file.starts_with("repositories/");
    all.into_iter().filter(content).collect()
}

#[tokio::test]
async fn what_was_deleted_is_free_at_once_and_what_was_there_at_the_opening_later() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    let layers = [support::content(1000), support::content(2000)];
    let needs = [blob(&layers[0]), blob(&layers[1])];
    for layer in &layers {
        push(&storage, &a, layer).await;
    }
    let (first, second) = (image(&needs, "first"), image(&needs[..1], "second"));
    let both = index(&[child(&first)], "both");
    put(&storage, &a, &first, &needs, &[]).await.unwrap();
    put(&storage, &a, &both, &[child(&first)], &["v1"]).await.unwrap();
    // The tag moves, which releases the index with all that is below it.
    put(&storage, &a, &second, &needs[..1], &["v1"]).await.unwrap();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let explicit = Terms::new().with_grace(day).with_released(true);
    let victims = [
        Victim::Manifest(a.clone(), *both.digest()),
        Victim::Manifest(a.clone(), *first.digest()),
        Victim::Link(a.clone(), needs[1].digest),
        Victim::Data(needs[1].digest),
    ];
    let is_due = async |terms: &Terms| {
        let due = storage.due(terms, &victims).await.unwrap();
        due.iter()
            .map(|due| matches!(due, Due::Now { .. }))
            .collect::<Vec<_>>()
    };
    assert_eq!(is_due(&explicit).await, [true; 4]);
    assert_eq!(is_due(&Terms::new().with_grace(day)).await, [false; 4]);

    let run = storage.begin(explicit).await.unwrap();
    sweep(&storage, &run).await;
    storage.end(run, Census::new(1)).await.unwrap();

    assert_tags_are_whole(&storage, "after the run").await;
    let kept = files(root.path());
    assert_eq!(
        kept.iter().filter(|file| file.starts_with("blobs/")).count(),
        2,
        "{kept:?}"
    );
    assert_eq!(
        storage.begin(explicit).await.unwrap().previous,
        Some(Census::new(1))
    );

    // After an opening, nobody is known to have released it.
    writer(&storage)
        .delete_manifest(&a, second.digest(), Deletion::new())
        .await
        .unwrap();
    assert!(storage.close().await);
    let storage = relaxed(root.path());
    let due = storage
        .due(&explicit, &[Victim::Data(*second.digest())])
        .await
        .unwrap();
    assert!(matches!(due[..], [Due::Later(_)]), "{due:?}");
    assert!(storage.is_own());
    collect(&storage).await;
    assert_eq!(files(root.path()), [""; 0]);
}

/// The subject of a signature may be deleted and pushed again.
#[tokio::test]
async fn a_referrer_stays_if_its_subject_is_pushed_while_a_collection_runs() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    let subject = image(&[], "subject");
    let Needed { digest, size, .. } = child(&subject);
    let (kind, media_type) = (MediaType::OCI_MANIFEST, MediaType::OCI_INDEX);
    let named = format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#);
    let text =
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[],"subject":{named}}}"#);
    let referrer = Verified::of(Algorithm::Sha256, text.into());
    put(&storage, &a, &referrer, &[], &[]).await.unwrap();
    let victim = Victim::Manifest(a.clone(), *referrer.digest());

    let run = storage.begin(Terms::new()).await.unwrap();
    put(&storage, &a, &subject, &[], &["v1"]).await.unwrap();
    assert!(matches!(
        reclaim(&storage, &run, victim.clone()).await,
        Reclaimed::InUse
    ));
    storage.end(run, Census::new(2)).await.unwrap();

    let run = storage.begin(Terms::new()).await.unwrap();
    assert!(is_removed(&storage, &run, victim).await);
}

/// The files are those of an older version, or of registry:2.
#[tokio::test]
async fn a_directory_with_content_of_others_is_not_our_own() {
    let root = scratch();
    std::fs::create_dir_all(support::top(root.path()).join("blobs/sha256")).unwrap();
    for _ in 0..2 {
        assert!(!relaxed(root.path()).is_own());
    }
    let state = support::top(root.path()).join("_collect/state");
    std::fs::create_dir_all(state.parent().unwrap()).unwrap();
    std::fs::write(&state, "{").unwrap();
    assert!(!relaxed(root.path()).is_own());
}

#[tokio::test]
async fn a_directory_of_others_is_our_own_once_a_run_that_somebody_asked_for_has_ended() {
    let root = scratch();
    std::fs::create_dir_all(support::top(root.path()).join("blobs/sha256")).unwrap();
    let storage = relaxed(root.path());
    for (terms, ends, expected) in [
        (Terms::new(), true, false),
        (Terms::new().with_asked(true), false, false),
        (Terms::new().with_asked(true), true, true),
    ] {
        let run = storage.begin(terms).await.unwrap();
        if ends {
            storage.end(run, Census::new(0)).await.unwrap();
        }
        assert_eq!(storage.is_own(), expected);
    }
    assert!(storage.close().await);
    assert!(relaxed(root.path()).is_own());
}

/// A sparse index names what it need not have.
#[tokio::test]
async fn what_a_manifest_names_freely_is_kept_where_it_exists() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    let first = image(&[], "first");
    put(&storage, &a, &first, &[], &[]).await.unwrap();
    let run = storage.begin(Terms::new()).await.unwrap();

    let sparse = index(&[child(&first)], "sparse");
    put(&storage, &a, &sparse, &[], &["v1"]).await.unwrap();

    assert!(!is_removed(&storage, &run, Victim::Manifest(a, *first.digest())).await);
}

/// Costs of what others do while nothing is collected.
#[tokio::test]
async fn a_promise_opens_no_file_more_than_an_answer() {
    let root = scratch();
    let storage = relaxed(root.path());
    let a = name("a");
    let digest = push(&storage, &a, &support::content(10)).await.digest;
    let opened = |root: &Path| crate::seams::watch(root).files;
    opened(root.path());

    storage.store().blob(&a, &digest).unwrap().unwrap();
    let answer = opened(root.path());
    storage.blob(&a, &digest).await.unwrap().unwrap();

    assert_eq!(opened(root.path()), answer);
}
