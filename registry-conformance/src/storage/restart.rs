//! With the means `restart`: acknowledged content exists after every handle was dropped and opened again.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest, MediaType,
    hash::Hasher,
    storage::{
        Census, Deletion, Document, Mount, Need, NewUpload, PutManifest, Reclaimed, Referring, Seen,
        StorageError, TagExpect, Terms, Uploader, Verified, Victim,
    },
};

pub async fn blobs_manifests_tags_and_referrers_survive(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 300_000);
    let blob = push(&backend.first, &a, &bytes).await;
    let subject =
        Image::new(1)
            .of_type(MediaType::DOCKER_MANIFEST)
            .needing(blob.digest, blob.size, Need::Blob);
    let signature = Image::new(2)
        .referring_to(subject.digest(), "application/vnd.example.signature")
        .hashed_by(Algorithm::Sha512);
    put(&backend.first, &a, subject.tagged(&["v1", "latest"])).await;
    put(&backend.second, &a, signature.tagged(&[])).await;

    let backend = backend.restarted().await;

    assert_eq!(read(&backend.first, &a, &blob.digest).await, Some(bytes));
    let found = manifest(&backend.second, &a, tag("v1")).await.unwrap();
    assert_eq!((found.digest, found.bytes), (subject.digest(), subject.bytes()));
    assert_eq!(found.media_type.as_str(), MediaType::DOCKER_MANIFEST);
    assert_eq!(tags(&backend.first, &a).await, ["latest", "v1"]);
    let referrers = backend
        .first
        .referrers(&a, Referring::new(&subject.digest()), all())
        .await
        .unwrap();
    let listed: Vec<_> = referrers
        .items
        .into_iter()
        .map(|item| (item.digest, item.size, item.artifact_type))
        .collect();
    let expected = signature.descriptor();
    assert_eq!(listed, [(expected.digest, expected.size, expected.artifact_type)]);
}

pub async fn a_media_type_that_the_document_does_not_name_survives(backend: Backend) {
    let a = repository("a");
    let document = r#"{"schemaVersion":2,"layers":[]}"#;
    let proof = Verified::of(Algorithm::Sha256, document.into());
    let digest = *proof.digest();
    put(
        &backend.first,
        &a,
        PutManifest::new(proof, media_type("application/vnd.example.x+json")),
    )
    .await;

    let backend = backend.restarted().await;

    let found = manifest(&backend.first, &a, digest).await.unwrap();
    assert_eq!(found.media_type.as_str(), "application/vnd.example.x+json");
}

pub async fn deletions_survive(backend: Backend) {
    let a = repository("a");
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    let subject = Image::new(9).digest();
    let image = Image::new(1).referring_to(subject, "application/vnd.example.signature");
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    put(&backend.first, &a, Image::new(2).tagged(&["v2"])).await;
    writer(&backend.first)
        .delete_blob(&a, &blob.digest, Deletion::new())
        .await
        .unwrap();
    writer(&backend.first)
        .delete_manifest(&a, &image.digest(), Deletion::new())
        .await
        .unwrap();
    writer(&backend.first)
        .delete_tag(&a, &tag("v2"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();

    let backend = backend.restarted().await;

    assert!(!holds(&backend.first, &a, &blob.digest).await);
    assert!(manifest(&backend.first, &a, image.digest()).await.is_none());
    assert!(
        backend
            .first
            .referrers(&a, Referring::new(&subject), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        tags(&backend.first, &a).await.is_empty(),
        "and the repository still exists"
    );
}

pub async fn a_session_survives_with_its_checkpoint(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 500_000);
    let mut before = Vec::new();
    for algorithm in Algorithm::ALL {
        let opened = open(&backend.first, &a, algorithm).await;
        before.push(appended(&backend.first, &a, &opened, &bytes.slice(..300_001)).await);
    }

    let backend = backend.restarted().await;

    for seen in before {
        let state = state_of(backend.sharing(), &a, &seen.id).await.unwrap();
        let algorithm = seen.checkpoint.as_ref().unwrap().algorithm();
        assert_eq!((state.offset, &state.checkpoint), (300_001, &seen.checkpoint));
        let state = appended(&backend.first, &a, &state, &bytes.slice(300_001..)).await;
        let checkpoint = state.checkpoint.as_ref().expect("nothing has to be read back");
        assert_eq!(checkpoint.offset(), 500_000);
        let blob = close(&backend.first, &a, state, algorithm).await;
        assert_eq!(blob.digest, Digest::of(algorithm, &bytes));
        assert_eq!(
            read(&backend.second, &a, &blob.digest).await.as_ref(),
            Some(&bytes)
        );
    }
}

pub async fn a_session_whose_append_was_dropped_goes_on_after_the_restart(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 900_000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let body = Incoming::in_chunks(&bytes.slice(..800_000), 10_000);
    append_and_drop(&backend.first, &a, &opened, body).await;

    let backend = backend.restarted().await;

    let state = settled(&backend.first, &a, &opened.id).await;
    assert!(state.offset <= 800_000);
    let rest = bytes.slice(usize::try_from(state.offset).unwrap()..);
    let state = appended(&backend.first, &a, &state, &rest).await;
    let blob = close(backend.sharing(), &a, state, Algorithm::Sha256).await;
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes));
    assert_eq!(read(&backend.first, &a, &blob.digest).await, Some(bytes));
}

pub async fn a_sealed_session_stays_sealed(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &bytes).await;
    let hasher = Hasher::new(Algorithm::Sha512);
    writer(&backend.first)
        .rehash(&a, state, hasher.clone())
        .await
        .unwrap();

    let backend = backend.restarted().await;

    let found = state_of(&backend.first, &a, &opened.id).await.unwrap();
    let (refused, _) = append(&backend.first, &a, &found, Incoming::whole(&content(2, 1))).await;
    assert!(
        matches!(refused, Err(StorageError::UploadConflict { offset: 1000, .. })),
        "{refused:?}"
    );
    let (state, hasher) = writer(&backend.first).rehash(&a, found, hasher).await.unwrap();
    let proof = Verified::from_hasher(state.id, hasher).unwrap();
    let blob = writer(&backend.first).commit(&a, state, proof).await.unwrap();
    assert_eq!(read(&backend.second, &a, &blob.digest).await, Some(bytes));
}

pub async fn a_commit_is_retried_after_the_restart(backend: Backend) {
    let a = repository("a");
    let bytes = content(1, 1000);
    let opened = open(&backend.first, &a, Algorithm::Sha256).await;
    let state = appended(&backend.first, &a, &opened, &bytes).await;
    let (state, proof) = prove(&backend.first, &a, state, Algorithm::Sha256).await;
    writer(&backend.first)
        .commit(&a, state.clone(), proof.clone())
        .await
        .unwrap();

    let backend = backend.restarted().await;

    let again = writer(&backend.first).commit(&a, state, proof).await.unwrap();
    assert_eq!(read(&backend.second, &a, &again.digest).await, Some(bytes));
}

pub async fn a_session_of_before_has_its_uploader(backend: Backend) {
    let a = repository("a");
    let mut opened = Vec::new();
    for uploader in [
        Some(Uploader::user("ann")),
        Some(Uploader::anonymous([192, 0, 2, 1].into())),
        None,
    ] {
        let new = NewUpload::hashed_by(Algorithm::Sha256).by(uploader.clone());
        let state = writer(&backend.first).open_upload(&a, new).await.unwrap();
        opened.push((state.id, uploader));
    }

    let backend = backend.restarted().await;

    for (id, uploader) in opened {
        let state = state_of(&backend.first, &a, &id).await.unwrap();
        assert_eq!(state.opened_by, uploader);
        let added = appended(&backend.first, &a, &state, &content(1, 100)).await;
        assert_eq!(added.opened_by, uploader);
    }
}

pub async fn what_was_deleted_is_still_recorded(backend: Backend) {
    let Some(trash) = backend.first.trash() else {
        return;
    };
    let a = repository("a");
    let image = Image::new(1);
    let put_by_ann = image.tagged(&["v1", "v2"]).by(Some("ann".into()));
    put(&backend.first, &a, put_by_ann).await;
    let write = writer(&backend.first);
    let by_bob = Deletion::new().by(Some("bob".into()));
    write
        .delete_tag(&a, &tag("v1"), TagExpect::Any, by_bob.clone())
        .await
        .unwrap();
    write.delete_manifest(&a, &image.digest(), by_bob).await.unwrap();
    let recorded = trash.deleted(&a, all()).await.unwrap().items;
    let history = trash.history(&a, &tag("v1")).await.unwrap();

    let backend = backend.restarted().await;

    let trash = backend.first.trash().expect("the plane is still there");
    assert_eq!(trash.deleted(&a, all()).await.unwrap().items, recorded);
    assert_eq!(recorded.len(), 2);
    assert_eq!(trash.history(&a, &tag("v1")).await.unwrap(), history);
    for record in recorded.into_iter().filter_map(Seen::whole) {
        let document = trash.deleted_document(&a, &record.id).await.unwrap();
        assert!(matches!(document, Document::Whole(found) if found.bytes == image.bytes()));
    }
}

/// A run of the next process has to know what is no longer there, although its records are gone.
pub async fn the_census_is_known_with_what_has_gone_since(backend: Backend) {
    let (Some(collect), Some(trash)) = (backend.first.collect(), backend.first.trash()) else {
        return;
    };
    let a = repository("a");
    let images: Vec<Image> = (1..=6).map(Image::new).collect();
    for image in &images {
        put(&backend.first, &a, image.tagged(&[])).await;
    }
    let run = collect.begin(Terms::new()).await.unwrap();
    collect.end(run, Census::new(6)).await.unwrap();
    let gone = remove_all_but_one(&backend.first, &a, &images).await;
    for record in trash.deleted(&a, all()).await.unwrap().items {
        assert!(trash.forget(&a, &record.whole().unwrap().id).await.unwrap());
    }

    let backend = backend.restarted().await;

    let collect = backend.first.collect().expect("the plane is still there");
    let run = collect.begin(Terms::new()).await.unwrap();
    assert_eq!((run.previous, run.deleted), (Some(Census::new(6)), gone));
}

/// Otherwise, a run that nobody asked for would not remove what was deleted before the restart, if that is most.
pub async fn what_accounts_for_removals_survives(backend: Backend) {
    let (Some(_), Some(trash)) = (backend.first.collect(), backend.first.trash()) else {
        return;
    };
    if announces(&backend.first).await {
        return;
    }
    let (a, b) = (repository("a"), repository("b"));
    let mut blobs = Vec::new();
    for seed in 0..5 {
        blobs.push(push(&backend.first, &a, &content(seed, 1000)).await);
    }
    let [expired, for_good, expires, deleted, other] = &blobs[..] else {
        unreachable!();
    };
    let write = writer(&backend.first);
    for (repository, blob, how) in [
        (&a, expired, Deletion::new()),
        (&a, for_good, Deletion::new().permanently()),
        (&b, expires, Deletion::new()),
    ] {
        write
            .mount(repository, Mount::new(&a, &blob.digest))
            .await
            .unwrap();
        let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
        put(&backend.first, repository, image.tagged(&[])).await;
        write
            .delete_manifest(repository, &image.digest(), how)
            .await
            .unwrap();
    }
    write.mount(&b, Mount::new(&a, &deleted.digest)).await.unwrap();
    write
        .delete_blob(&a, &deleted.digest, Deletion::new())
        .await
        .unwrap();
    forget_all(trash, &a).await;

    let backend = backend.restarted().await;

    let digests = [expired, for_good, deleted, other, expires].map(|blob| blob.digest);
    let collect = backend.first.collect().expect("the plane is still there");
    let released = collect.released(&digests).await.unwrap();
    assert_eq!(released, [true, true, true, false, false]);
    forget_all(backend.first.trash().expect("it is still there"), &b).await;
    let released = collect.released(&digests).await.unwrap();
    assert_eq!(released, [true, true, true, false, true]);
}

/// The next run that nobody asked for frees the bytes, although most of all.
pub async fn what_a_run_removes_for_good_is_accounted_for_although_it_does_not_end(backend: Backend) {
    let Some(collect) = backend.first.collect() else {
        return;
    };
    if announces(&backend.first).await {
        return;
    }
    let a = repository("a");
    let layer = push(&backend.first, &a, &content(1, 1000)).await;
    let image = Image::new(1).needing(layer.digest, layer.size, Need::Blob);
    put(&backend.first, &a, image.tagged(&[])).await;
    let run = collect.begin(Terms::new().with_permanent(true)).await.unwrap();
    let victim = Victim::Manifest(a.clone(), image.digest());
    let reclaimed = collect.reclaim(&run, &[victim]).await.unwrap();
    assert!(matches!(reclaimed[..], [Reclaimed::Removed { .. }]));
    drop(run);

    let backend = backend.restarted().await;

    let collect = backend.first.collect().expect("the plane is still there");
    let released = collect.released(&[image.digest(), layer.digest]).await.unwrap();
    assert_eq!(released, [true, true]);
}
