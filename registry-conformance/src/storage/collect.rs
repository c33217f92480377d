//! With the means `collect`: content that nothing refers to is removed beside traffic, and nothing else.

use super::{Backend, support::*};
use registry_core::{
    Algorithm,
    storage::{
        Census, Deletion, Due, Mount, Need, Reclaimed, Referring, Seen, Storage, StorageError, SuspectCause,
        TagExpect, Terms, Victim,
    },
};

pub async fn what_nothing_names_is_removed_level_by_level(backend: Backend) {
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    let storage = &backend.second;
    let run = begin(storage).await;

    assert_removed(storage, &run, record(&a, index.digest())).await;
    assert_removed(storage, &run, record(&a, child.digest())).await;
    assert!(manifest(&backend.first, &a, index.digest()).await.is_none());
    assert!(manifest(&backend.first, &a, child.digest()).await.is_none());
    assert!(holds(&backend.first, &a, &blob).await);
    end(storage, run).await;

    let run = begin(storage).await;
    assert_removed(storage, &run, link(&a, blob)).await;
    assert!(!holds(&backend.first, &a, &blob).await);
    assert_removed(storage, &run, Victim::Data(blob)).await;
    end(storage, run).await;
    let left = inspection(storage).blobs(all()).await.unwrap().items;
    assert!(
        left.into_iter()
            .filter_map(Seen::whole)
            .all(|info| info.digest != blob),
        "the bytes are still there"
    );
}

pub async fn a_removed_manifest_is_gone_from_every_listing(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).digest();
    let image = Image::new(2).referring_to(subject, "application/vnd.example.signature");
    put(&backend.first, &a, image.tagged(&[])).await;
    let storage = &backend.first;
    let run = begin(storage).await;

    assert_removed(storage, &run, record(&a, image.digest())).await;

    for storage in [&backend.first, &backend.second] {
        assert!(manifest(storage, &a, image.digest()).await.is_none());
        let referrers = storage.referrers(&a, Referring::new(&subject), all()).await;
        assert!(referrers.unwrap().items.is_empty());
        let listed = inspection(storage).manifests(&a, all()).await.unwrap();
        assert!(listed.items.is_empty(), "{:?}", listed.items);
    }
    end(storage, run).await;
}

pub async fn content_that_was_removed_can_be_pushed_again(backend: Backend) {
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    let run = begin(&backend.first).await;
    for victim in [
        record(&a, index.digest()),
        record(&a, child.digest()),
        link(&a, blob),
        Victim::Data(blob),
    ] {
        assert_removed(&backend.first, &run, victim).await;
    }
    let refused = writer(&backend.first).put_manifest(&a, child.tagged(&[])).await;
    assert!(
        matches!(&refused, Err(StorageError::MissingReferences(missing)) if *missing == [blob]),
        "{refused:?}"
    );

    let again = graph(&backend.first, &a).await;

    assert_in_use(&backend.first, &run, &[link(&a, blob), Victim::Data(blob)]).await;
    end(&backend.first, run).await;
    assert_eq!(
        read(&backend.second, &a, &again.blob).await,
        Some(content(1, 1000))
    );
    assert!(manifest(&backend.second, &a, index.digest()).await.is_some());
}

pub async fn a_tagged_manifest_is_in_use(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    let run = begin(&backend.second).await;

    assert_in_use(&backend.second, &run, &[record(&a, image.digest())]).await;

    let preview = due(&backend.second, Terms::new(), record(&a, image.digest())).await;
    assert_eq!(preview, Due::InUse);
    end(&backend.second, run).await;
    assert_eq!(resolve(&backend.first, &a, "v1").await, Some(image.digest()));
}

pub async fn a_blob_that_a_client_was_told_of_is_in_use(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 1000)).await.digest;
    let victims = [link(&a, blob), Victim::Data(blob)];
    let run = begin_for(&backend.second, &victims).await;

    assert!(backend.first.blob(&a, &blob).await.unwrap().is_some());

    assert_in_use(&backend.second, &run, &victims).await;
    end(&backend.second, run).await;
}

pub async fn a_mounted_blob_is_in_use(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let blob = push(&backend.first, &a, &content(1, 1000)).await.digest;
    let write = writer(&backend.first);
    write.mount(&b, Mount::new(&a, &blob)).await.unwrap().unwrap();
    let victims = [link(&b, blob), Victim::Data(blob)];
    let run = begin_for(&backend.second, &victims).await;

    write.mount(&b, Mount::new(&a, &blob)).await.unwrap().unwrap();

    assert_in_use(&backend.second, &run, &victims).await;
    end(&backend.second, run).await;
}

pub async fn a_committed_blob_is_in_use(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 1000)).await.digest;
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &content(1, 1000)).await;
    let victims = [link(&a, blob), Victim::Data(blob)];
    let run = begin_for(&backend.second, &victims).await;

    close(&backend.first, &a, state, Algorithm::Sha256).await;

    assert_in_use(&backend.second, &run, &victims).await;
    end(&backend.second, run).await;
}

pub async fn a_manifest_that_is_found_by_its_digest_protects_what_it_names(backend: Backend) {
    let a = repository("a");
    let graph = graph(&backend.first, &a).await;
    let closure = graph.victims(&a);
    let run = begin_for(&backend.second, &closure).await;

    let found = manifest(&backend.first, &a, graph.index.digest()).await;
    assert!(found.is_some());

    assert_in_use(&backend.second, &run, &closure).await;
    end(&backend.second, run).await;
}

pub async fn a_put_manifest_protects_what_it_names(backend: Backend) {
    let a = repository("a");
    let graph = graph(&backend.first, &a).await;
    let closure = graph.victims(&a);
    let run = begin_for(&backend.second, &closure).await;

    put(&backend.first, &a, graph.index.tagged(&[])).await;

    assert_in_use(&backend.second, &run, &closure).await;
    end(&backend.second, run).await;
}

pub async fn a_referrer_is_in_use_once_its_subject_is(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1);
    let signature = Image::new(2).referring_to(subject.digest(), "application/vnd.example.signature");
    put(&backend.first, &a, signature.tagged(&[])).await;
    let victims = [record(&a, signature.digest())];
    let run = begin_for(&backend.second, &victims).await;

    put(&backend.first, &a, subject.tagged(&[])).await;

    assert_in_use(&backend.second, &run, &victims).await;
    end(&backend.second, run).await;

    // An index can be the referrer of an image that it contains.
    let around = Image::new(3)
        .needing(subject.digest(), subject.size(), Need::Manifest)
        .referring_to(subject.digest(), "application/vnd.example.signature");
    put(&backend.first, &a, around.tagged(&[])).await;
    let referrers = [&signature, &around].map(|image| record(&a, image.digest()));
    let run = begin_for(&backend.second, &referrers).await;

    assert!(manifest(&backend.first, &a, subject.digest()).await.is_some());

    assert_in_use(&backend.second, &run, &referrers).await;
    end(&backend.second, run).await;
}

pub async fn what_was_touched_stays_although_it_is_released(backend: Backend) {
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;
    let terms = Terms::new().with_released(true);
    let closure = [record(&a, child.digest()), link(&a, blob), Victim::Data(blob)];
    let run = begin_for_with(&backend.second, terms, &closure).await;

    put(&backend.first, &a, index.tagged(&["v1"])).await;
    let write = writer(&backend.first);
    write
        .delete_manifest(&a, &index.digest(), Deletion::new())
        .await
        .unwrap();

    assert_in_use(&backend.second, &run, &closure).await;
    end(&backend.second, run).await;
}

pub async fn one_run_is_open_at_a_time(backend: Backend) {
    let run = begin(&backend.first).await;
    for storage in [&backend.first, &backend.second] {
        let refused = collector(storage).begin(Terms::new()).await;
        assert!(matches!(refused, Err(StorageError::Busy { .. })), "{refused:?}");
    }
    end(&backend.first, run).await;

    drop(begin(&backend.second).await);

    let run = begin(&backend.first).await;
    end(&backend.first, run).await;
}

pub async fn a_run_knows_the_census_of_the_previous_one(backend: Backend) {
    let run = begin(&backend.first).await;
    assert_eq!((run.previous, run.expected_manifests()), (None, None));
    let collector = collector(&backend.first);
    assert_eq!(collector.expected_manifests().await.unwrap(), None);
    collector.end(run, Census::new(7)).await.unwrap();
    drop(begin(&backend.second).await);

    let run = begin(&backend.second).await;

    assert_eq!(run.previous, Some(Census::new(7)));
    end(&backend.second, run).await;
}

/// Otherwise, a run would miss what requests and interrupted runs have removed, and stop.
pub async fn a_run_knows_what_has_gone_since_the_census(backend: Backend) {
    let a = repository("a");
    let images: Vec<Image> = (1..=6).map(Image::new).collect();
    for image in &images {
        put(&backend.first, &a, image.tagged(&[])).await;
    }
    let run = begin(&backend.first).await;
    assert_eq!(run.deleted, 0);
    let census = Census::new(images.len() as u64);
    collector(&backend.first).end(run, census).await.unwrap();

    let gone = remove_all_but_one(&backend.first, &a, &images).await;

    let expected = collector(&backend.second).expected_manifests().await;
    assert_eq!(expected.unwrap(), Some(1));
    let run = begin(&backend.second).await;
    assert_eq!((run.previous, run.deleted), (Some(census), gone));
    assert_eq!(run.expected_manifests(), Some(1));
    // It counts what it removes itself.
    assert_removed(&backend.second, &run, record(&a, images[5].digest())).await;
    end(&backend.second, run).await;
    let run = begin(&backend.second).await;
    assert_eq!(run.deleted, 0);
    end(&backend.second, run).await;
}

pub async fn a_preview_changes_nothing(backend: Backend) {
    let a = repository("a");
    let Graph { blob, child, index } = graph(&backend.first, &a).await;

    for _ in 0..2 {
        for victim in [
            record(&a, index.digest()),
            record(&a, child.digest()),
            link(&a, blob),
            Victim::Data(blob),
            // It would be empty by then.
            Victim::Repository(a.clone()),
        ] {
            let preview = due(&backend.first, Terms::new(), victim.clone()).await;
            assert!(matches!(preview, Due::Now { .. }), "{victim}: {preview:?}");
        }
    }

    assert!(holds(&backend.second, &a, &blob).await);
    assert!(manifest(&backend.second, &a, index.digest()).await.is_some());
}

pub async fn what_is_not_there_is_absent(backend: Backend) {
    let a = repository("a");
    let absent = Image::new(1).digest();
    let run = begin(&backend.first).await;

    for victim in [record(&a, absent), link(&a, absent), Victim::Data(absent)] {
        let preview = due(&backend.first, Terms::new(), victim.clone()).await;
        assert_eq!(preview, Due::Absent, "{victim}");
        let reclaimed = reclaim(&backend.first, &run, victim.clone()).await;
        assert!(matches!(reclaimed, Reclaimed::Absent), "{victim}: {reclaimed:?}");
    }
    end(&backend.first, run).await;
}

pub async fn only_an_empty_repository_is_removed(backend: Backend) {
    let [deleted, full, uploading] = ["deleted", "full", "uploading"].map(repository);
    let image = Image::new(1);
    for repository in [&deleted, &full, &uploading] {
        put(&backend.first, repository, image.tagged(&["v1"])).await;
    }
    let write = writer(&backend.first);
    for repository in [&deleted, &uploading] {
        write
            .delete_manifest(repository, &image.digest(), Deletion::new())
            .await
            .unwrap();
    }
    open(&backend.first, &uploading, Algorithm::Sha256).await;
    let preview = due(
        &backend.first,
        Terms::new(),
        Victim::Repository(uploading.clone()),
    )
    .await;
    assert_eq!(preview, Due::InUse);
    let run = begin(&backend.second).await;

    assert_removed(&backend.second, &run, Victim::Repository(deleted.clone())).await;
    let used = [full.clone(), uploading.clone()].map(Victim::Repository);
    assert_in_use(&backend.second, &run, &used).await;

    end(&backend.second, run).await;
    assert_eq!(
        texts(&backend.first.repositories(all()).await.unwrap().items),
        ["full", "uploading"]
    );
    let every = inspection(&backend.first).all_repositories(all()).await.unwrap();
    let every: Vec<_> = every.items.into_iter().filter_map(Seen::whole).collect();
    assert_eq!(texts(&every), ["full", "uploading"]);
    put(&backend.first, &deleted, image.tagged(&["v1"])).await;
    assert_eq!(
        resolve(&backend.second, &deleted, "v1").await,
        Some(image.digest())
    );
}

pub async fn a_put_and_a_removal_exclude_each_other(backend: Backend) {
    let a = repository("a");
    for seed in 0..50 {
        let blob = push(&backend.first, &a, &content(seed, 1000)).await;
        let image = Image::new(seed).needing(blob.digest, blob.size, Need::Blob);
        let victims = [link(&a, blob.digest)];
        let run = begin_for(&backend.second, &victims).await;

        let (stored, reclaimed) = tokio::join!(
            writer(&backend.first).put_manifest(&a, image.tagged(&["v1"])),
            reclaim(&backend.second, &run, link(&a, blob.digest)),
        );

        match (stored, reclaimed) {
            (Ok(_), Reclaimed::InUse | Reclaimed::Later(_)) => {
                assert!(holds(&backend.first, &a, &blob.digest).await)
            }
            (Err(StorageError::MissingReferences(missing)), Reclaimed::Removed { .. }) => {
                assert_eq!(missing, [blob.digest]);
            }
            other => panic!("{other:?}"),
        }
        end(&backend.second, run).await;
    }
}

pub async fn what_a_request_released_is_a_suspect(backend: Backend) {
    let a = repository("a");
    let Backend { first, second, .. } = &backend;
    let (old, new) = (Image::new(1), Image::new(2));
    let mut seen = 0;
    // Others know what other processes release only if it is recorded.
    let asked = if announces(second).await { first } else { second };
    let mut suspects = async |limit| {
        let found = collector(asked).suspects(seen, limit).await.unwrap();
        seen = found.last().map_or(seen, |last| last.number);
        let found = found.into_iter();
        found
            .map(|suspect| (suspect.victim, suspect.cause))
            .collect::<Vec<_>>()
    };
    put(first, &a, old.tagged(&["v1"])).await;
    put(first, &a, old.tagged(&["v1"])).await;
    assert_eq!(suspects(10).await, [], "the tag points at the same manifest");

    put(first, &a, new.tagged(&["v1"])).await;
    let tag = tag("v1");
    let write = writer(first);
    write
        .delete_tag(&a, &tag, TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    assert_eq!(
        suspects(1).await,
        [(record(&a, old.digest()), SuspectCause::Released)]
    );
    assert_eq!(
        suspects(10).await,
        [(record(&a, new.digest()), SuspectCause::Released)]
    );

    write
        .delete_manifest(&a, &old.digest(), Deletion::new().permanently())
        .await
        .unwrap();
    assert_eq!(
        suspects(10).await,
        [(record(&a, old.digest()), SuspectCause::Released)]
    );
    write
        .delete_manifest(&a, &new.digest(), Deletion::new())
        .await
        .unwrap();
    let cause = match first.trash() {
        Some(_) => SuspectCause::Recorded,
        None => SuspectCause::Released,
    };
    assert_eq!(suspects(10).await, [(record(&a, new.digest()), cause)]);
    if let Some(trash) = first.trash() {
        for item in trash.deleted(&a, all()).await.unwrap().items {
            let deleted = item.whole().unwrap();
            trash.forget(&a, &deleted.id).await.unwrap();
        }
        // The records of the tag and of the manifest.
        let forgotten = (record(&a, new.digest()), SuspectCause::Forgotten);
        assert_eq!(suspects(10).await, [forgotten.clone(), forgotten]);
    }

    let blob = push(first, &a, &content(1, 100)).await.digest;
    assert_eq!(suspects(10).await, [], "a manifest may follow");
    for _ in 0..2 {
        write.delete_blob(&a, &blob, Deletion::new()).await.unwrap();
    }
    let deleted = (link(&a, blob), SuspectCause::Released);
    assert_eq!(suspects(10).await, [deleted], "it was deleted once");
    assert_eq!(suspects(10).await, []);
}
