//! With the means `damage`, for backends that can be repaired: corrupt content is found and quarantined.

use super::{Backend, Damage, support::*};
use registry_core::{
    Algorithm, Digest, RepositoryName,
    maintenance::{FindingKind, Remedy, Repaired, VerifyEvent, VerifyOptions, verify},
    storage::{Checked, Document, Evidence, Need, Page, StorageRepair},
};

const EVERY_DAMAGE: [Damage; 3] = [Damage::Emptied, Damage::Truncated, Damage::Flipped];

/// Pushes a blob and damages it.
async fn damaged(
    backend: &Backend,
    repository: &RepositoryName,
    algorithm: Algorithm,
    damage: Damage,
) -> (bytes::Bytes, Digest) {
    let bytes = content(1, 300_000);
    let digest = Digest::of(algorithm, &bytes);
    try_push(&backend.first, repository, &bytes, digest)
        .await
        .unwrap();
    backend.inflict(damage, &digest);
    (bytes, digest)
}

async fn evidence(repair: &dyn StorageRepair, digest: &Digest) -> Evidence {
    match repair.check(digest).await.unwrap() {
        Checked::Corrupt(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

pub async fn corrupt_content_is_found_and_a_check_changes_nothing(backend: Backend) {
    let Some(repair) = backend.second.repair() else {
        return;
    };
    let a = repository("a");
    for algorithm in Algorithm::ALL {
        for damage in EVERY_DAMAGE {
            let (bytes, digest) = damaged(&backend, &a, algorithm, damage).await;
            let before = holds(&backend.first, &a, &digest).await;

            let found = evidence(repair, &digest).await;

            assert_eq!(found.digest, digest, "{damage:?}");
            assert!(!found.place.is_empty() && !found.reason.is_empty(), "{found:?}");
            assert_eq!(holds(&backend.first, &a, &digest).await, before, "{damage:?}");
            assert!(repair.quarantined(all()).await.unwrap().items.is_empty());
            assert_eq!(evidence(repair, &digest).await, found, "the same again");
            try_push(&backend.first, &a, &bytes, digest).await.unwrap();
            let healed = repair.check(&digest).await.unwrap();
            assert!(matches!(healed, Checked::Sound { .. }), "{healed:?}");
        }
    }
}

pub async fn content_in_quarantine_is_absent_for_everybody_until_it_is_pushed_again(backend: Backend) {
    let Some(repair) = backend.first.repair() else {
        return;
    };
    let [a, b] = ["a", "b"].map(repository);
    for algorithm in Algorithm::ALL {
        for damage in EVERY_DAMAGE {
            let (bytes, digest) = damaged(&backend, &a, algorithm, Damage::Truncated).await;
            try_push(&backend.first, &b, &bytes, digest).await.unwrap();
            backend.inflict(damage, &digest);
            let found = evidence(repair, &digest).await;

            assert!(repair.quarantine(found).await.unwrap(), "{damage:?}");

            for (storage, name) in [(&backend.first, &a), (&backend.second, &b)] {
                assert!(!holds(storage, name, &digest).await, "{damage:?}");
            }
            let checked = repair.check(&digest).await.unwrap();
            assert!(matches!(checked, Checked::Absent), "{checked:?}");
            try_push(&backend.second, &a, &bytes, digest).await.unwrap();
            for name in [&a, &b] {
                assert_eq!(
                    read(&backend.first, name, &digest).await.as_ref(),
                    Some(&bytes),
                    "{damage:?}"
                );
            }
        }
    }
}

pub async fn content_that_was_pushed_again_is_not_quarantined(backend: Backend) {
    let Some(repair) = backend.first.repair() else {
        return;
    };
    let a = repository("a");
    for damage in EVERY_DAMAGE {
        let (bytes, digest) = damaged(&backend, &a, Algorithm::Sha256, damage).await;
        let found = evidence(repair, &digest).await;
        try_push(&backend.second, &a, &bytes, digest).await.unwrap();

        assert!(!repair.quarantine(found.clone()).await.unwrap(), "{damage:?}");

        assert_eq!(read(&backend.first, &a, &digest).await, Some(bytes), "{damage:?}");
        assert!(repair.quarantined(all()).await.unwrap().items.is_empty());
        assert!(!repair.quarantine(found).await.unwrap(), "{damage:?}");
    }
}

pub async fn items_in_quarantine_are_listed_in_pages_and_removed_once(backend: Backend) {
    let Some(repair) = backend.first.repair() else {
        return;
    };
    let a = repository("a");
    let mut sizes = Vec::new();
    for algorithm in Algorithm::ALL {
        for damage in [Damage::Truncated, Damage::Flipped] {
            let (bytes, digest) = damaged(&backend, &a, algorithm, damage).await;
            let found = evidence(repair, &digest).await;
            assert!(repair.quarantine(found).await.unwrap());
            sizes.push((
                digest,
                if damage == Damage::Flipped {
                    300_000
                } else {
                    150_000
                },
            ));
            try_push(&backend.first, &a, &bytes, digest).await.unwrap();
        }
    }

    let mut listed = Vec::new();
    loop {
        let after = listed
            .last()
            .map(|item: &registry_core::storage::Quarantined| item.id);
        let page = repair
            .quarantined(Page::first(1).after(after.as_ref()))
            .await
            .unwrap();
        assert_eq!(page.items.len(), 1);
        listed.extend(page.items);
        if !page.more {
            break;
        }
    }

    let found: Vec<_> = listed.iter().map(|item| (item.id.digest, item.size)).collect();
    assert_eq!(found, sizes);
    assert!(listed.iter().all(|item| !item.reason.is_empty()), "{listed:?}");
    for (removed, item) in listed.iter().enumerate() {
        assert!(repair.remove_quarantined(&item.id).await.unwrap());
        assert!(!repair.remove_quarantined(&item.id).await.unwrap());
        let rest = repair.quarantined(all()).await.unwrap();
        assert_eq!(rest.items, listed[removed + 1..]);
    }
    for (digest, _) in sizes {
        assert!(
            holds(&backend.second, &a, &digest).await,
            "what was pushed again stays"
        );
    }
}

pub async fn a_corrupt_manifest_is_quarantined_and_put_again(backend: Backend) {
    let (Some(repair), Some(inspect)) = (backend.first.repair(), backend.first.inspect()) else {
        return;
    };
    let a = repository("a");
    let image = Image::new(1);
    for damage in EVERY_DAMAGE {
        put(&backend.first, &a, image.tagged(&["v1"])).await;
        backend.inflict(damage, &image.digest());
        let found = evidence(repair, &image.digest()).await;

        assert!(repair.quarantine(found).await.unwrap(), "{damage:?}");

        assert!(manifest(&backend.second, &a, tag("v1")).await.is_none());
        let document = inspect.document(&a, &image.digest()).await.unwrap();
        assert!(matches!(document, Document::Lost), "{document:?}");
        put(&backend.first, &a, image.tagged(&["v1"])).await;
        assert_eq!(resolve(&backend.second, &a, "v1").await, Some(image.digest()));
    }
}

pub async fn a_verification_names_the_images_that_need_corrupt_content_and_repairs_it(backend: Backend) {
    if backend.first.repair().is_none() || backend.first.inspect().is_none() {
        return;
    }
    let a = repository("a");
    push(&backend.first, &a, &bytes::Bytes::from_static(b"{}")).await;
    for damage in EVERY_DAMAGE {
        let bytes = content(1, 1000);
        let blob = push(&backend.first, &a, &bytes).await;
        let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
        put(&backend.first, &a, image.tagged(&["v1"])).await;
        backend.inflict(damage, &blob.digest);
        let run = async |options| {
            let mut findings = Vec::new();
            let report = verify(&backend.first, options, &mut |event| {
                if let VerifyEvent::Finding(finding) = event {
                    findings.push(finding.clone());
                }
            })
            .await
            .unwrap();
            assert_eq!((report.wrong, findings.len()), (1, 1), "{damage:?}: {findings:?}");
            findings.remove(0)
        };

        let found = run(VerifyOptions::new()).await;
        let repaired = run(VerifyOptions::new().repair(true)).await;
        let rest = run(VerifyOptions::new()).await;

        assert_eq!(
            (found.kind, found.digest),
            (FindingKind::Corrupt, Some(blob.digest))
        );
        assert_eq!(
            (found.remedy, &found.repaired),
            (Remedy::Quarantine, &Repaired::NotTried)
        );
        assert_eq!(
            (repaired.kind, &repaired.repaired),
            (FindingKind::Corrupt, &Repaired::Done)
        );
        assert_eq!(rest.kind, FindingKind::LostBlob);
        for finding in [found, repaired, rest] {
            assert_eq!(finding.affected.tags, ["a:v1"], "{finding}");
        }
        assert!(!holds(&backend.second, &a, &blob.digest).await);
    }
}
