//! The steps of a collection, and content to collect.

use super::*;
use registry_core::{
    Digest, RepositoryName,
    storage::{
        Census, Deletion, Due, Need, Reclaimed, Run, Storage, StorageCollect, StorageTrash, Terms, Victim,
        Waiting,
    },
};

pub(crate) fn collector(storage: &dyn Storage) -> &dyn StorageCollect {
    storage.collect().expect("the backend collects")
}

pub(crate) async fn begin(storage: &dyn Storage) -> Run {
    collector(storage).begin(Terms::new()).await.unwrap()
}

/// Begins a run that is going to remove these items. A storage that announces removals records what clients are told of from
/// the announcement on, and others from the begin.
pub(crate) async fn begin_for(storage: &dyn Storage, victims: &[Victim]) -> Run {
    begin_for_with(storage, Terms::new(), victims).await
}

pub(crate) async fn begin_for_with(storage: &dyn Storage, terms: Terms, victims: &[Victim]) -> Run {
    let run = collector(storage).begin(terms).await.unwrap();
    if let Waiting::Until(_) = condemn(storage, &run, &[]).await {
        condemn(storage, &run, victims).await;
    }
    run
}

/// Returns true if the storage announces removals. It need not know which content clients were told of before, nor what
/// was released since.
pub(crate) async fn announces(storage: &dyn Storage) -> bool {
    let run = begin(storage).await;
    matches!(condemn(storage, &run, &[]).await, Waiting::Until(_))
}

async fn condemn(storage: &dyn Storage, run: &Run, victims: &[Victim]) -> Waiting {
    collector(storage).condemn(run, victims).await.unwrap()
}

pub(crate) async fn end(storage: &dyn Storage, run: Run) {
    collector(storage).end(run, Census::new(0)).await.unwrap();
}

/// Announces the removal of one item if it is due, waits as long as the storage says, and removes it.
pub(crate) async fn reclaim(storage: &dyn Storage, run: &Run, victim: Victim) -> Reclaimed {
    let collector = collector(storage);
    if let Due::Now { .. } = due(storage, run.terms, victim.clone()).await
        && let Waiting::Until(wait) = condemn(storage, run, std::slice::from_ref(&victim)).await
    {
        tokio::time::sleep(wait).await;
    }
    let mut reclaimed = collector.reclaim(run, &[victim]).await.unwrap();
    assert_eq!(reclaimed.len(), 1, "one result for each item");
    reclaimed.remove(0)
}

pub(crate) async fn assert_removed(storage: &dyn Storage, run: &Run, victim: Victim) {
    let reclaimed = reclaim(storage, run, victim.clone()).await;
    assert!(
        matches!(reclaimed, Reclaimed::Removed { .. }),
        "{victim}: {reclaimed:?}"
    );
}

pub(crate) async fn assert_in_use(storage: &dyn Storage, run: &Run, victims: &[Victim]) {
    for victim in victims {
        let reclaimed = reclaim(storage, run, victim.clone()).await;
        assert!(matches!(reclaimed, Reclaimed::InUse), "{victim}: {reclaimed:?}");
    }
}

pub(crate) async fn due(storage: &dyn Storage, terms: Terms, victim: Victim) -> Due {
    let mut due = collector(storage).due(&terms, &[victim]).await.unwrap();
    assert_eq!(due.len(), 1, "one answer for each item");
    due.remove(0)
}

pub(crate) fn link(repository: &RepositoryName, digest: Digest) -> Victim {
    Victim::Link(repository.clone(), digest)
}

pub(crate) fn record(repository: &RepositoryName, digest: Digest) -> Victim {
    Victim::Manifest(repository.clone(), digest)
}

/// An index with one manifest, which has one blob.
pub(crate) struct Graph {
    pub(crate) blob: Digest,
    pub(crate) child: Image,
    pub(crate) index: Image,
}

impl Graph {
    /// Returns everything that it consists of.
    pub(crate) fn victims(&self, repository: &RepositoryName) -> [Victim; 4] {
        [
            record(repository, self.index.digest()),
            record(repository, self.child.digest()),
            link(repository, self.blob),
            Victim::Data(self.blob),
        ]
    }
}

pub(crate) async fn graph(storage: &dyn Storage, repository: &RepositoryName) -> Graph {
    let blob = push(storage, repository, &content(1, 1000)).await;
    let child = Image::new(2).needing(blob.digest, blob.size, Need::Blob);
    put(storage, repository, child.tagged(&[])).await;
    let index = Image::new(3).needing(child.digest(), child.size(), Need::Manifest);
    put(storage, repository, index.tagged(&[])).await;
    Graph {
        blob: blob.digest,
        child,
        index,
    }
}

/// Forgets all records of deletions in a repository.
pub(crate) async fn forget_all(trash: &dyn StorageTrash, repository: &RepositoryName) {
    for record in trash.deleted(repository, all()).await.unwrap().items {
        let id = record.whole().unwrap().id;
        assert!(trash.forget(repository, &id).await.unwrap());
    }
}

/// Removes manifests by a request, for good, and by a run that is dropped. Returns their number.
pub(crate) async fn remove_all_but_one(
    storage: &dyn Storage,
    repository: &RepositoryName,
    images: &[Image],
) -> u64 {
    let [deleted, for_good, others @ .., _] = images else {
        panic!("there are at least 3 images");
    };
    let write = writer(storage);
    for (image, how) in [
        (deleted, Deletion::new()),
        (for_good, Deletion::new().permanently()),
    ] {
        write
            .delete_manifest(repository, &image.digest(), how)
            .await
            .unwrap();
    }
    let permanent = Terms::new().with_permanent(true);
    let run = collector(storage).begin(permanent).await.unwrap();
    for image in others {
        assert_removed(storage, &run, record(repository, image.digest())).await;
    }
    drop(run);
    images.len() as u64 - 1
}
