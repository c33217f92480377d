//! With the means `repair`: sound content and sound records are found sound.

use super::{Backend, support::*};
use registry_core::{
    Algorithm, Digest,
    maintenance::{VerifyEvent, VerifyOptions, verify},
    storage::{Checked, Deletion, FaultKind, Mount, Need, Page, QuarantineId, Record},
};

pub async fn sound_content_is_sound_and_absent_content_is_absent(backend: Backend) {
    let a = repository("a");
    for algorithm in Algorithm::ALL {
        for length in [0, 1, 300_000] {
            let bytes = content(1, length);
            let digest = Digest::of(algorithm, &bytes);
            try_push(&backend.first, &a, &bytes, digest).await.unwrap();

            for storage in [&backend.first, &backend.second] {
                let checked = repairs(storage).check(&digest).await.unwrap();
                assert!(
                    matches!(checked, Checked::Sound { size, .. } if size == length as u64),
                    "{length} {checked:?}"
                );
            }
            assert_eq!(read(&backend.second, &a, &digest).await, Some(bytes));
        }
        let absent = Digest::of(algorithm, b"absent");
        let checked = repairs(&backend.first).check(&absent).await.unwrap();
        assert!(matches!(checked, Checked::Absent), "{checked:?}");
    }
}

pub async fn a_healthy_repository_has_no_faults(backend: Backend) {
    let [a, b] = ["a", "b"].map(repository);
    let blob = push(&backend.first, &a, &content(1, 1000)).await;
    let image = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    put(&backend.first, &a, image.tagged(&["v1", "v2"])).await;
    let signature = Image::new(2).referring_to(image.digest(), "application/vnd.example.signature");
    put(&backend.first, &a, signature.tagged(&[])).await;
    let mount = Mount::new(&a, &blob.digest);
    writer(&backend.first).mount(&b, mount).await.unwrap().unwrap();
    // What clients delete is no damage.
    let deleted = push(&backend.first, &a, &content(2, 1000)).await.digest;
    let gone = Image::new(3);
    put(&backend.first, &a, gone.tagged(&["v3"])).await;
    let write = writer(&backend.first);
    write.delete_blob(&a, &deleted, Deletion::new()).await.unwrap();
    write
        .delete_manifest(&a, &gone.digest(), Deletion::new())
        .await
        .unwrap();

    for (storage, name) in [(&backend.first, &a), (&backend.second, &a), (&backend.first, &b)] {
        let faults = repairs(storage).faults(name, all()).await.unwrap();
        assert!(faults.items.is_empty() && !faults.more, "{faults:?}");
    }
    for record in [
        Record::Blob(blob.digest),
        Record::Manifest(image.digest()),
        Record::Manifest(signature.digest()),
        Record::Tag(tag("v1")),
        Record::Referrers,
    ] {
        let plane = repairs(&backend.second);
        assert_eq!(plane.fault(&a, &record).await.unwrap(), None, "{record}");
        assert!(!plane.mend(&a, &record).await.unwrap(), "{record}");
    }
}

pub async fn a_record_that_does_not_exist_is_missing(backend: Backend) {
    let a = repository("a");
    put(&backend.first, &a, Image::new(1).tagged(&["v1"])).await;
    let elsewhere = push(&backend.first, &repository("b"), &content(1, 1000)).await;
    let plane = repairs(&backend.first);
    for record in [
        Record::Blob(Digest::of(Algorithm::Sha512, b"absent")),
        Record::Manifest(elsewhere.digest),
        Record::Tag(tag("v2")),
    ] {
        let fault = plane.fault(&a, &record).await.unwrap();

        let fault = fault.expect("there is no such record");
        assert_eq!((fault.kind, &fault.record), (FaultKind::Missing, &record));
        assert!(
            !fault.mendable && !plane.mend(&a, &record).await.unwrap(),
            "{record}"
        );
    }
}

pub async fn nothing_is_in_quarantine_at_first(backend: Backend) {
    let blob = push(&backend.first, &repository("a"), &content(1, 1000)).await;
    let plane = repairs(&backend.first);

    let listed = plane.quarantined(all()).await.unwrap();

    assert!(listed.items.is_empty() && !listed.more, "{listed:?}");
    let id = QuarantineId::new(blob.digest, 1);
    assert!(!plane.remove_quarantined(&id).await.unwrap());
    let beyond = plane.quarantined(Page::first(1).after(Some(&id))).await.unwrap();
    assert!(beyond.items.is_empty(), "{beyond:?}");
    assert!(holds(&backend.second, &repository("a"), &blob.digest).await);
}

pub async fn the_progress_of_a_verification_is_saved_for_every_handle(backend: Backend) {
    assert_eq!(repairs(&backend.first).saved_progress().await.unwrap(), None);
    for progress in ["halfway, as far as this is known", "done"] {
        let progress = progress.as_bytes().to_vec();
        repairs(&backend.first)
            .save_progress(progress.clone())
            .await
            .unwrap();

        let saved = repairs(&backend.second).saved_progress().await.unwrap();

        assert_eq!(saved, Some(progress));
    }
}

pub async fn a_healthy_storage_is_verified_without_a_finding(backend: Backend) {
    let a = repository("a");
    // Every image of the suite has this configuration.
    push(&backend.first, &a, &bytes::Bytes::from_static(b"{}")).await;
    let blob = push(&backend.first, &a, &content(1, 1000)).await;
    let child = Image::new(1).needing(blob.digest, blob.size, Need::Blob);
    put(&backend.first, &a, child.tagged(&[])).await;
    let index = Image::new(2).needing(child.digest(), child.size(), Need::Manifest);
    put(&backend.first, &a, index.tagged(&["v1", "v2"])).await;
    let signature = Image::new(3).referring_to(index.digest(), "application/vnd.example.signature");
    put(&backend.first, &a, signature.tagged(&[])).await;
    if backend.first.inspect().is_none() {
        return;
    }

    let mut findings = Vec::new();
    let report = verify(&backend.second, VerifyOptions::new(), &mut |event| {
        if let VerifyEvent::Finding(finding) = event {
            findings.push(finding.clone());
        }
    })
    .await
    .unwrap();

    assert_eq!(findings, []);
    assert_eq!((report.repositories, report.manifests, report.tags), (1, 3, 2));
    assert!(report.blobs >= 2, "{report:?}");
}
