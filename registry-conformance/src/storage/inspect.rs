//! With the means `inspect`: everything that is stored, also what readers are not shown.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag,
    storage::{Deletion, Document, Listing, Mount, Page, Seen, StorageError, TagExpect, TagTarget},
};

use std::time::SystemTime;

/// Returns the items of a strict listing, all of which can be read.
fn whole<T, K>(listing: Listing<Seen<T, K>>) -> Listing<T> {
    let count = listing.items.len();
    let items: Vec<T> = listing.items.into_iter().filter_map(Seen::whole).collect();
    assert_eq!(items.len(), count, "something cannot be read");
    Listing::new(items, listing.more)
}

fn digests_beyond(model: &[Digest], after: Option<Digest>) -> Vec<Digest> {
    let after = |digest: &Digest| after.is_none_or(|after| *digest > after);
    model.iter().copied().filter(after).collect()
}

/// Returns bounds and limits to test: from the start, after each item, after one that does not exist.
fn pages(model: &[Digest]) -> Vec<(Option<Digest>, usize)> {
    let absent = Digest::of(Algorithm::Sha512, b"absent");
    let bounds = model.iter().copied().map(Some).chain([None, Some(absent)]);
    bounds
        .flat_map(|after| [0, 1, 2, model.len(), 1000].map(|limit| (after, limit)))
        .collect()
}

pub async fn every_stored_blob_is_listed_once(backend: Backend) {
    let mut pushed = Vec::new();
    for (seed, name) in (0..).zip(["a", "b", "a", "b/c"]) {
        let bytes = content(seed, 100);
        for algorithm in Algorithm::ALL {
            let digest = Digest::of(algorithm, &bytes);
            for name in [name, "everywhere"] {
                try_push(&backend.first, &repository(name), &bytes, digest)
                    .await
                    .unwrap();
            }
            pushed.push(digest);
        }
    }
    let inspect = inspection(&backend.second);

    let listing = whole(inspect.blobs(all()).await.unwrap());

    let listed: Vec<Digest> = listing.items.iter().map(|info| info.digest).collect();
    assert!(
        listed.is_sorted_by(|a, b| a < b),
        "in order, each once: {listed:?}"
    );
    for digest in pushed {
        let found = listing.items.iter().find(|info| info.digest == digest);
        assert_eq!(found.map(|info| info.size), Some(100), "{digest}");
    }
    for (after, limit) in pages(&listed) {
        let page = Page::first(limit).after(after.as_ref());
        let Listing { items, more, .. } = whole(inspect.blobs(page).await.unwrap());
        let items = items.into_iter().map(|info| info.digest).collect();
        assert_page(&Listing::new(items, more), &digests_beyond(&listed, after), limit);
    }
}

pub async fn the_blobs_of_a_repository_are_listed(backend: Backend) {
    let (a, b) = (repository("a"), repository("b"));
    let mut held = Vec::new();
    for seed in 0..5 {
        held.push(push(&backend.first, &a, &content(seed, 100)).await.digest);
    }
    let foreign = push(&backend.first, &b, &content(9, 100)).await.digest;
    writer(&backend.first)
        .mount(&a, Mount::new(&b, &foreign))
        .await
        .unwrap()
        .unwrap();
    held.push(foreign);
    let gone = held.remove(0);
    writer(&backend.first)
        .delete_blob(&a, &gone, Deletion::new())
        .await
        .unwrap();
    held.sort();
    let inspect = inspection(&backend.second);

    for (after, limit) in pages(&held) {
        let page = Page::first(limit).after(after.as_ref());
        let Listing { items, more, .. } = whole(inspect.held_blobs(&a, page).await.unwrap());
        let items = items.into_iter().map(|held| held.digest).collect();
        assert_page(&Listing::new(items, more), &digests_beyond(&held, after), limit);
    }
    assert!(
        inspect
            .held_blobs(&repository("absent"), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub async fn the_manifests_of_a_repository_are_listed_tagged_or_not(backend: Backend) {
    let a = repository("a");
    let mut model = Vec::new();
    for seed in 0..6 {
        let image = Image::new(seed).hashed_by(Algorithm::ALL[usize::from(seed % 2 == 0)]);
        let tags: &[&str] = if seed < 3 { &["latest"] } else { &[] };
        put(&backend.first, &a, image.tagged(tags)).await;
        model.push((image.digest(), image.size()));
    }
    let (gone, _) = model.remove(0);
    writer(&backend.first)
        .delete_manifest(&a, &gone, Deletion::new())
        .await
        .unwrap();
    put(&backend.first, &repository("b"), Image::new(9).tagged(&[])).await;
    model.sort();
    let inspect = inspection(&backend.second);

    let listing = whole(inspect.manifests(&a, all()).await.unwrap());

    let listed: Vec<_> = listing
        .items
        .iter()
        .map(|held| (held.digest, held.size.unwrap()))
        .collect();
    assert_eq!(listed, model);
    let digests: Vec<Digest> = model.into_iter().map(|(digest, _)| digest).collect();
    for (after, limit) in pages(&digests) {
        let page = Page::first(limit).after(after.as_ref());
        let Listing { items, more, .. } = whole(inspect.manifests(&a, page).await.unwrap());
        let items = items.into_iter().map(|info| info.digest).collect();
        assert_page(
            &Listing::new(items, more),
            &digests_beyond(&digests, after),
            limit,
        );
    }
    assert!(
        inspect
            .manifests(&repository("absent"), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub async fn the_open_sessions_of_a_repository_are_listed(backend: Backend) {
    let a = repository("a");
    let mut model = Vec::new();
    for seed in 0..7 {
        let opened = open(&backend.first, &a, Algorithm::Sha256).await;
        let state = appended(&backend.first, &a, &opened, &content(seed, 100)).await;
        match seed {
            0 => drop(close(&backend.first, &a, state, Algorithm::Sha256).await),
            1 => assert!(writer(&backend.first).cancel(&a, &state.id).await.unwrap()),
            _ => model.push(state.id),
        }
    }
    open(&backend.first, &repository("b"), Algorithm::Sha256).await;
    model.sort();
    let inspect = inspection(&backend.second);

    for (position, limit) in
        (0..=model.len()).flat_map(|position| [0, 1, 2, 5, 100].map(|limit| (position, limit)))
    {
        let after = position.checked_sub(1).map(|last| &model[last]);
        let Listing { items, more, .. } = whole(
            inspect
                .uploads(&a, Page::first(limit).after(after))
                .await
                .unwrap(),
        );
        assert!(items.iter().all(|state| state.offset == 100), "{items:?}");
        let items = items.into_iter().map(|state| state.id).collect();
        assert_page(&Listing::new(items, more), &model[position..], limit);
    }
    assert!(
        inspect
            .uploads(&repository("absent"), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

pub async fn every_repository_is_listed_also_without_a_manifest(backend: Backend) {
    let (pushed, uploading, put_to) = (repository("a/b"), repository("a"), repository("a-b"));
    push(&backend.first, &pushed, &content(1, 100)).await;
    open(&backend.first, &uploading, Algorithm::Sha256).await;
    put(&backend.first, &put_to, Image::new(1).tagged(&[])).await;
    let ended = open(&backend.first, &repository("ended"), Algorithm::Sha256).await;
    writer(&backend.first)
        .cancel(&repository("ended"), &ended.id)
        .await
        .unwrap();
    let model: [RepositoryName; 3] = [uploading, put_to, pushed];
    let inspect = inspection(&backend.second);

    for (position, limit) in (0..=model.len()).flat_map(|at| [0, 1, 2, 100].map(|limit| (at, limit))) {
        let after = position.checked_sub(1).map(|last| &model[last]);
        let listing = inspect
            .all_repositories(Page::first(limit).after(after))
            .await
            .unwrap();
        assert_page(&whole(listing), &model[position..], limit);
    }
}

pub async fn every_tag_is_listed_with_its_target(backend: Backend) {
    let a = repository("a");
    let [one, two] = [1, 2].map(Image::new);
    put(&backend.first, &a, one.tagged(&["1.2", "1", "gone"])).await;
    put(&backend.first, &a, two.tagged(&["1-alpine"])).await;
    let deleted = writer(&backend.first)
        .delete_tag(&a, &tag("gone"), TagExpect::Any, Deletion::new())
        .await;
    assert_eq!(deleted.unwrap(), Some(one.digest()));
    let model: Vec<TagTarget> = [("1", &one), ("1-alpine", &two), ("1.2", &one)]
        .map(|(name, image)| TagTarget::new(tag(name), image.digest()))
        .into();
    let inspect = inspection(&backend.second);

    for (position, limit) in (0..=model.len()).flat_map(|at| [0, 1, 2, 100].map(|limit| (at, limit))) {
        let after = position.checked_sub(1).map(|last| &model[last].tag);
        let listing = inspect
            .tag_targets(&a, Page::first(limit).after(after))
            .await
            .unwrap();
        let mut listing = whole(listing);
        for target in &mut listing.items {
            (target.moved, target.version) = (None, None);
        }
        assert_page(&listing, &model[position..], limit);
    }
    let absent = inspect.tag_targets(&repository("absent"), all()).await.unwrap();
    assert!(absent.items.is_empty());
}

pub async fn the_time_of_a_manifest_is_that_of_its_last_put(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    let listed = async || {
        let listing = inspection(&backend.second).manifests(&a, all()).await.unwrap();
        whole(listing).items[0].put
    };
    put(&backend.first, &a, image.tagged(&[])).await;
    // A backend need not know the time.
    let Some(mut last) = listed().await else { return };

    for _ in 0..3 {
        let before = SystemTime::now();
        put(&backend.first, &a, image.tagged(&[])).await;

        let again = listed().await.expect("the time was known before");
        assert!(again >= last && again >= before, "{again:?} {last:?} {before:?}");
        last = again;
    }
}

pub async fn every_put_of_a_tag_changes_its_version(backend: Backend) {
    let a = repository("a");
    let (v1, image) = (tag("v1"), Image::new(1));
    let write = writer(&backend.first);
    let listed = async || {
        let listing = inspection(&backend.first).tag_targets(&a, all()).await.unwrap();
        whole(listing).items[0].version
    };
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    if !backend.first.abilities().conditional_tags {
        return;
    }
    let unchanged = async || TagExpect::Unchanged(image.digest(), listed().await.expect("a version"));
    let outdated = unchanged().await;
    assert_eq!(unchanged().await, outdated, "a listing changes nothing");

    put(&backend.first, &a, image.tagged(&["v1"])).await;
    let refused = write.delete_tag(&a, &v1, outdated, Deletion::new());
    assert!(matches!(
        refused.await,
        Err(StorageError::TagConflict { current, .. }) if current == Some(image.digest())
    ));
    let current = unchanged().await;
    let deleted = write.delete_tag(&a, &v1, current, Deletion::new());
    assert_eq!(deleted.await.unwrap(), Some(image.digest()));

    // A new tag of the same name is another one.
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    for outdated in [outdated, current] {
        let refused = write.delete_tag(&a, &v1, outdated, Deletion::new());
        assert!(matches!(refused.await, Err(StorageError::TagConflict { .. })));
    }
}

pub async fn the_time_of_a_tag_is_that_of_its_last_move(backend: Backend) {
    let a = repository("a");
    let [one, two] = [1, 2].map(Image::new);
    put(&backend.first, &a, one.tagged(&["moves"])).await;
    put(&backend.first, &a, one.tagged(&["stays"])).await;
    put(&backend.first, &a, two.tagged(&["moves"])).await;
    let inspect = inspection(&backend.second);

    let listing = inspect.tag_targets(&a, all()).await.unwrap();

    let times: Vec<_> = whole(listing)
        .items
        .into_iter()
        .map(|target| target.moved)
        .collect();
    match times[..] {
        // A backend need not know the times.
        [None, None] => {}
        [Some(moves), Some(stays)] => assert!(moves >= stays, "{times:?}"),
        _ => panic!("a time is missing: {times:?}"),
    }
}

pub async fn the_tags_of_a_manifest_are_listed_as_they_move(backend: Backend) {
    let a = repository("a");
    let [one, two] = [1, 2].map(Image::new);
    put(&backend.first, &a, one.tagged(&["c", "b", "a", "z"])).await;
    put(&backend.first, &a, two.tagged(&["b"])).await;
    put(&backend.first, &repository("other"), one.tagged(&["other"])).await;
    let inspect = inspection(&backend.second);
    let listed = async |image: &Image, after: Option<&Tag>, limit| {
        let listing = inspect
            .tags_of(&a, &image.digest(), Page::first(limit).after(after))
            .await
            .unwrap();
        (texts(&listing.items), listing.more)
    };

    let text = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    assert_eq!(listed(&one, None, 100).await, (text(&["a", "c", "z"]), false));
    assert_eq!(listed(&two, None, 100).await, (text(&["b"]), false));
    assert_eq!(listed(&one, None, 2).await, (text(&["a", "c"]), true));
    assert_eq!(
        listed(&one, Some(&tag("b")), 100).await,
        (text(&["c", "z"]), false)
    );
    assert_eq!(listed(&one, Some(&tag("b")), 0).await, (vec![], false));
    assert_eq!(listed(&Image::new(3), None, 100).await, (vec![], false));
    put(&backend.first, &a, two.tagged(&["c"])).await;
    assert_eq!(listed(&one, None, 100).await, (text(&["a", "z"]), false));
    assert_eq!(listed(&two, None, 100).await, (text(&["b", "c"]), false));
}

pub async fn a_document_is_whole_or_lost(backend: Backend) {
    let a = repository("a");
    let image = Image::new(1);
    put(&backend.first, &a, image.tagged(&["v1"])).await;
    let blob = push(&backend.first, &a, &content(1, 100)).await;
    let inspect = inspection(&backend.second);

    match inspect.document(&a, &image.digest()).await.unwrap() {
        Document::Whole(found) => {
            assert_eq!((found.digest, found.bytes), (image.digest(), image.bytes()));
        }
        other => panic!("{other:?}"),
    }
    writer(&backend.first)
        .delete_manifest(&a, &image.digest(), Deletion::new())
        .await
        .unwrap();
    for absent in [image.digest(), blob.digest] {
        let found = inspect.document(&a, &absent).await.unwrap();
        assert!(matches!(found, Document::Lost), "{absent}: {found:?}");
    }
}
