//! Tests of reading from two storages.

use super::*;

#[tokio::test]
async fn what_the_upper_storage_lacks_is_read_from_the_lower_one() {
    let (upper, lower, both) = layers();
    let below = push_image(lower.clone(), "app", "below", "below").await;
    let above = push_image(upper, "app", "above", "above").await;

    for (reference, manifest, layer) in [("below", below, "below"), ("above", above, "above")] {
        assert_eq!(resolve(&both, "app", reference).await, Some(manifest));
        let app = repository(both.clone(), "app");
        assert!(app.manifest(manifest).await.unwrap().is_some());
        assert!(app.blob(&digest(layer)).await.unwrap().is_some());
        let read = both
            .open_blob(&name("app"), &digest(layer), ReadBlob::default())
            .await;
        assert_eq!(read.unwrap().unwrap().info.size, layer.len() as u64);
    }
}

#[tokio::test]
async fn an_outage_of_the_upper_storage_is_none_of_the_content() {
    let (_, lower, _) = layers();
    let app = name("app");
    let manifest = push_image(lower.clone(), "app", "v1", "layer").await;
    let both = FallbackStorage::new(Outage::default(), lower);

    assert!(both.blob(&app, &digest("layer")).await.is_err());
    assert!(
        both.open_blob(&app, &digest("layer"), ReadBlob::default())
            .await
            .is_err()
    );
    assert!(both.manifest(&app, &manifest.into()).await.is_err());
    assert!(both.manifest(&app, &tag("v1").into()).await.is_err());
    assert!(both.tags(&app, Page::first(9)).await.is_err());
    assert!(both.repositories(Page::first(9)).await.is_err());
    assert!(
        both.referrers(&app, Referring::new(&manifest), Page::first(9))
            .await
            .is_err()
    );
    assert!(both.holders(&digest("layer"), Page::first(9)).await.is_err());
}

#[tokio::test]
async fn listings_have_the_items_of_both_storages_once_and_in_order() {
    let (upper, lower, both) = layers();
    for (storage, own) in [(&upper, ["a", "c", "e"]), (&lower, ["b", "c", "d"])] {
        for text in own {
            let manifest = push_image(storage.clone(), "app", text, text).await;
            push_image(storage.clone(), text, "v1", text).await;
            assert_eq!(manifest, digest(&image(text)));
            let number = text.bytes().next().unwrap().into();
            put(
                storage.clone(),
                "app",
                digest(&referrer(number, "s")),
                &referrer(number, "s"),
            )
            .await;
        }
    }
    let all = ["a", "b", "c", "d", "e"];
    let mut signatures: Vec<Digest> = (usize::from(b'a')..=usize::from(b'e'))
        .map(|number| digest(&referrer(number, "s")))
        .collect();
    signatures.sort_unstable();
    let app = name("app");
    let subject = digest("s");

    for limit in 1..=6 {
        let (mut tags, mut names, mut found) = (Vec::<Tag>::new(), Vec::<RepositoryName>::new(), Vec::new());
        loop {
            let page = Page::first(limit).after(tags.last());
            let listing = both.tags(&app, page).await.unwrap().unwrap();
            tags.extend(listing.items.iter().cloned());
            let page = Page::first(limit).after(names.last());
            names.extend(both.repositories(page).await.unwrap().items);
            let page = Page::first(limit).after(found.last());
            let referrers = both
                .referrers(&app, Referring::new(&subject), page)
                .await
                .unwrap();
            found.extend(referrers.items.iter().map(|referrer| referrer.digest));
            assert_eq!(listing.more, tags.len() < 5, "pages of {limit}");
            assert_eq!(referrers.more, found.len() < 5, "pages of {limit}");
            if !listing.more {
                names.extend(
                    both.repositories(Page::first(1).after(names.last()))
                        .await
                        .unwrap()
                        .items,
                );
                break;
            }
        }
        assert_eq!(tags, all.map(tag));
        assert_eq!(names, ["a", "app", "b", "c", "d", "e"].map(name));
        assert_eq!(found, signatures);
    }
    assert!(both.tags(&name("none"), Page::first(9)).await.unwrap().is_none());
}
