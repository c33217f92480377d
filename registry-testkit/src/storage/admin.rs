//! With the means `admin`: stored content, for maintenance.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    storage::{Listing, Page},
};

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
    let admin = maintenance(&backend.second);

    let listing = admin.blobs(all()).await.unwrap();

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
        let page = Page {
            after: after.as_ref(),
            limit,
        };
        let Listing { items, more } = admin.blobs(page).await.unwrap();
        let items = items.into_iter().map(|info| info.digest).collect();
        assert_page(&Listing { items, more }, &digests_beyond(&listed, after), limit);
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
        .mount(&b, &a, &foreign)
        .await
        .unwrap()
        .unwrap();
    held.push(foreign);
    let gone = held.remove(0);
    writer(&backend.first).delete_blob(&a, &gone).await.unwrap();
    held.sort();
    let admin = maintenance(&backend.second);

    for (after, limit) in pages(&held) {
        let page = Page {
            after: after.as_ref(),
            limit,
        };
        let Listing { items, more } = admin.links(&a, page).await.unwrap();
        assert!(items.iter().all(|link| link.digest == link.target), "{items:?}");
        let items = items.into_iter().map(|link| link.digest).collect();
        assert_page(&Listing { items, more }, &digests_beyond(&held, after), limit);
    }
    assert!(
        admin
            .links(&repository("absent"), all())
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
    writer(&backend.first).delete_manifest(&a, &gone).await.unwrap();
    put(&backend.first, &repository("b"), Image::new(9).tagged(&[])).await;
    model.sort();
    let admin = maintenance(&backend.second);

    let listing = admin.manifests(&a, all()).await.unwrap();

    let listed: Vec<_> = listing
        .items
        .iter()
        .map(|info| (info.digest, info.size))
        .collect();
    assert_eq!(listed, model);
    let digests: Vec<Digest> = model.into_iter().map(|(digest, _)| digest).collect();
    for (after, limit) in pages(&digests) {
        let page = Page {
            after: after.as_ref(),
            limit,
        };
        let Listing { items, more } = admin.manifests(&a, page).await.unwrap();
        let items = items.into_iter().map(|info| info.digest).collect();
        assert_page(&Listing { items, more }, &digests_beyond(&digests, after), limit);
    }
    assert!(
        admin
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
    let admin = maintenance(&backend.second);

    for (position, limit) in
        (0..=model.len()).flat_map(|position| [0, 1, 2, 5, 100].map(|limit| (position, limit)))
    {
        let after = position.checked_sub(1).map(|last| &model[last]);
        let Listing { items, more } = admin.uploads(&a, Page { after, limit }).await.unwrap();
        assert!(items.iter().all(|state| state.offset == 100), "{items:?}");
        let items = items.into_iter().map(|state| state.id).collect();
        assert_page(&Listing { items, more }, &model[position..], limit);
    }
    assert!(
        admin
            .uploads(&repository("absent"), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
