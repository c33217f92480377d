//! Referrers: listed from the time their manifest is stored until it is deleted.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Annotations, Digest,
    storage::{Deletion, Page, Referring, Storage},
};

const SIGNATURE: &str = "application/vnd.example.signature";
const SBOM: &str = "application/vnd.example.sbom";

async fn listed(storage: &dyn Storage, subject: &Digest, artifact_type: Option<&str>) -> Vec<Digest> {
    let listing = storage
        .referrers(
            &repository("a"),
            Referring::new(subject).of_type(artifact_type),
            all(),
        )
        .await
        .unwrap();
    assert!(!listing.more);
    listing.items.into_iter().map(|item| item.digest).collect()
}

fn sorted(images: &[&Image]) -> Vec<Digest> {
    let mut digests: Vec<_> = images.iter().map(|image| image.digest()).collect();
    digests.sort();
    digests
}

pub async fn a_referrer_is_listed_as_its_descriptor_says(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1);
    let signature = Image::new(2).referring_to(subject.digest(), SIGNATURE);
    put(&backend.first, &a, subject.tagged(&["v1"])).await;

    put(&backend.first, &a, signature.tagged(&[])).await;

    let listing = backend
        .second
        .referrers(&a, Referring::new(&subject.digest()), all())
        .await
        .unwrap();
    let expected = signature.descriptor();
    assert_eq!(listing.items.len(), 1);
    let item = &listing.items[0];
    assert_eq!((item.digest, item.size), (expected.digest, expected.size));
    assert_eq!(item.media_type, expected.media_type);
    assert_eq!(item.artifact_type, expected.artifact_type);
    assert_eq!(
        item.annotations.as_ref().map(Annotations::to_map),
        expected.annotations.as_ref().map(Annotations::to_map)
    );
}

pub async fn referrers_are_listed_by_digest_and_filtered_by_type(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).digest();
    let signatures = [2, 3, 4].map(|seed| Image::new(seed).referring_to(subject, SIGNATURE));
    let sbom = Image::new(5).referring_to(subject, SBOM);
    let elsewhere = Image::new(6).referring_to(Image::new(7).digest(), SIGNATURE);
    let [x, y, z] = &signatures;
    for image in [x, &sbom, y, &elsewhere, z] {
        put(&backend.first, &a, image.tagged(&[])).await;
    }

    assert_eq!(
        listed(&backend.second, &subject, None).await,
        sorted(&[x, y, z, &sbom])
    );
    assert_eq!(
        listed(&backend.second, &subject, Some(SIGNATURE)).await,
        sorted(&[x, y, z])
    );
    assert_eq!(
        listed(&backend.second, &subject, Some(SBOM)).await,
        sorted(&[&sbom])
    );
    assert!(
        listed(&backend.second, &subject, Some("application/vnd.example.none"))
            .await
            .is_empty()
    );
}

pub async fn an_artifact_type_that_is_no_media_type_is_listed_and_filtered_as_it_is(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).digest();
    let odd = Image::new(2).referring_to(subject, "signature");
    let usual = Image::new(3).referring_to(subject, SIGNATURE);
    for image in [&odd, &usual] {
        put(&backend.first, &a, image.tagged(&[])).await;
    }

    let all = listed(&backend.second, &subject, None).await;

    assert_eq!(all, sorted(&[&odd, &usual]));
    for (filter, expected) in [
        ("signature", vec![odd.digest()]),
        ("Signature", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(
            listed(&backend.second, &subject, Some(filter)).await,
            expected,
            "{filter}"
        );
    }
}

pub async fn a_subject_need_not_exist_nor_its_repository(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1);
    assert!(listed(&backend.first, &subject.digest(), None).await.is_empty());

    let signature = Image::new(2).referring_to(subject.digest(), SIGNATURE);
    put(&backend.first, &a, signature.tagged(&[])).await;
    assert_eq!(
        listed(&backend.second, &subject.digest(), None).await,
        sorted(&[&signature])
    );

    put(&backend.first, &a, subject.tagged(&["v1"])).await;
    assert_eq!(
        listed(&backend.second, &subject.digest(), None).await,
        sorted(&[&signature])
    );
}

pub async fn putting_a_referrer_again_lists_it_once(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).digest();
    let signature = Image::new(2).referring_to(subject, SIGNATURE);
    for storage in [&backend.first, &backend.second] {
        put(storage, &a, signature.tagged(&["v1"])).await;
    }

    assert_eq!(
        listed(&backend.first, &subject, None).await,
        sorted(&[&signature])
    );
}

pub async fn a_deleted_referrer_is_no_longer_listed(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).digest();
    let [gone, stays] = [2, 3].map(|seed| Image::new(seed).referring_to(subject, SIGNATURE));
    for image in [&gone, &stays] {
        put(&backend.first, &a, image.tagged(&[])).await;
    }

    writer(&backend.first)
        .delete_manifest(&a, &gone.digest(), Deletion::new())
        .await
        .unwrap()
        .unwrap();

    assert_eq!(listed(&backend.second, &subject, None).await, sorted(&[&stays]));
    assert_eq!(
        listed(&backend.second, &subject, Some(SIGNATURE)).await,
        sorted(&[&stays])
    );
}

pub async fn referrers_stay_when_their_subject_is_deleted(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1);
    let signature = Image::new(2).referring_to(subject.digest(), SIGNATURE);
    put(&backend.first, &a, subject.tagged(&["v1"])).await;
    put(&backend.first, &a, signature.tagged(&["signed"])).await;

    writer(&backend.first)
        .delete_manifest(&a, &subject.digest(), Deletion::new())
        .await
        .unwrap()
        .unwrap();

    assert_eq!(
        listed(&backend.second, &subject.digest(), None).await,
        sorted(&[&signature])
    );
    assert_eq!(
        resolve(&backend.second, &a, "signed").await,
        Some(signature.digest())
    );
}

pub async fn referrers_are_of_one_repository(backend: Backend) {
    let subject = Image::new(1).digest();
    let signature = Image::new(2).referring_to(subject, SIGNATURE);
    put(&backend.first, &repository("b"), signature.tagged(&[])).await;

    assert!(listed(&backend.second, &subject, None).await.is_empty());
}

pub async fn referrers_in_sha512_and_of_sha512_are_equals(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).hashed_by(Algorithm::Sha512).digest();
    let sha256 = Image::new(2).referring_to(subject, SIGNATURE);
    let sha512 = Image::new(3)
        .referring_to(subject, SIGNATURE)
        .hashed_by(Algorithm::Sha512);
    for image in [&sha256, &sha512] {
        put(&backend.first, &a, image.tagged(&[])).await;
    }

    assert_eq!(
        listed(&backend.second, &subject, None).await,
        sorted(&[&sha256, &sha512])
    );
    assert!(
        listed(&backend.second, &Image::new(1).digest(), None)
            .await
            .is_empty()
    );
}

pub async fn pages_of_referrers_match_a_sorted_model(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).digest();
    let mut model = Vec::new();
    for seed in 10..27 {
        let (algorithm, kind) = (
            Algorithm::ALL[usize::from(seed % 3 == 0)],
            [SIGNATURE, SBOM][usize::from(seed % 4 == 0)],
        );
        let image = Image::new(seed).referring_to(subject, kind).hashed_by(algorithm);
        put(&backend.first, &a, image.tagged(&[])).await;
        model.push((image.digest(), kind));
    }
    model.sort_by_key(|(digest, _)| *digest);
    let absent = Image::new(99).digest();
    for filter in [None, Some(SIGNATURE), Some(SBOM)] {
        let wanted: Vec<Digest> = model
            .iter()
            .filter(|(_, kind)| filter.is_none_or(|wanted| wanted == *kind))
            .map(|(digest, _)| *digest)
            .collect();
        let bounds = model.iter().map(|(digest, _)| Some(*digest));
        for after in bounds.chain([None, Some(absent)]) {
            let beyond: Vec<Digest> = wanted
                .iter()
                .copied()
                .filter(|digest| after.is_none_or(|after| *digest > after))
                .collect();
            for limit in [0, 1, 3, beyond.len(), 100] {
                let page = Page::first(limit).after(after.as_ref());
                let listing = backend
                    .second
                    .referrers(&a, Referring::new(&subject).of_type(filter), page)
                    .await
                    .unwrap();
                let listing = registry_core::storage::Listing::new(
                    listing.items.into_iter().map(|item| item.digest).collect(),
                    listing.more,
                );
                assert_page(&listing, &beyond, limit);
            }
        }
    }
}

pub async fn referrers_that_come_and_go_while_paging_shift_no_page(backend: Backend) {
    let a = repository("a");
    let subject = Image::new(1).digest();
    let mut images: Vec<Image> = (10..17)
        .map(|seed| Image::new(seed).referring_to(subject, SBOM))
        .collect();
    images.sort_by_key(Image::digest);
    let digests: Vec<Digest> = images.iter().map(Image::digest).collect();
    for listed in [1, 3, 5] {
        put(&backend.first, &a, images[listed].tagged(&[])).await;
    }
    let page = async |after, limit| {
        let page = Page::first(limit).after(after);
        let listing = backend
            .second
            .referrers(&a, Referring::new(&subject), page)
            .await
            .unwrap();
        let items: Vec<Digest> = listing.items.into_iter().map(|item| item.digest).collect();
        (items, listing.more)
    };
    assert_eq!(page(None, 2).await, (vec![digests[1], digests[3]], true));

    // Changes before, at and after the position of the page.
    for added in [0, 2, 4] {
        put(&backend.first, &a, images[added].tagged(&[])).await;
    }
    let deleted = writer(&backend.first)
        .delete_manifest(&a, &digests[3], Deletion::new())
        .await
        .unwrap();
    assert!(deleted.is_some());

    let rest = (vec![digests[4], digests[5]], false);
    assert_eq!(page(Some(&digests[3]), 2).await, rest);
}
