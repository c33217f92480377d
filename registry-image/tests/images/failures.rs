//! Copies that fail, and leave nothing visible.

use crate::fixture::{artifact, digest_of, document, image, index, put, repository, sha256, tag};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use registry_core::{Descriptor, Digest, Reference, Repository, Tag, storage::StoredManifest};
use registry_image::{
    Blob, BlobStream, CopyItem, Error, Export, ImageCopy, Kind, Layout, LayoutWriter, Names, Origin, Page,
    Source, Target,
};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// A source with a faulty blob.
#[derive(Debug)]
struct Faulty {
    inner: Repository,
    blob: Digest,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    WrongBytes,
    Cut,
    Absent,
    /// The manifest with this digest has another byte.
    WrongManifest,
    /// The manifest with this digest is listed as the referrer of any other.
    WrongReferrer,
}

#[async_trait]
impl Source for Faulty {
    fn describe(&self) -> String {
        "faulty".into()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        self.inner.resolve(reference).await
    }

    async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        let mut found = Source::manifest(&self.inner, digest).await?;
        if let (Fault::WrongManifest, Some(found)) =
            (&self.fault, found.as_mut().filter(|_| *digest == self.blob))
        {
            found.bytes = [&found.bytes[..], b" "].concat().into();
        }
        Ok(found)
    }

    async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error> {
        let read = Source::blob(&self.inner, digest, from).await?;
        let Some(read) = read.filter(|_| *digest == self.blob) else {
            return Source::blob(&self.inner, digest, from).await;
        };
        let first = stream::iter([Ok(Bytes::from(vec![0; usize::try_from(read.size).unwrap() / 2]))]);
        let stream: BlobStream = match self.fault {
            Fault::WrongBytes => {
                let rest = read.size - read.size / 2;
                let rest = Bytes::from(vec![0; usize::try_from(rest).unwrap()]);
                Box::pin(first.chain(stream::iter([Ok(rest)])))
            }
            Fault::Cut => {
                let cut = Error::other("faulty", true, "the connection was reset");
                Box::pin(first.chain(stream::iter([Err(cut)])))
            }
            Fault::Absent => return Ok(None),
            Fault::WrongManifest | Fault::WrongReferrer => return Ok(Some(read)),
        };
        Ok(Some(Blob::new(read.size, stream)))
    }

    async fn tags(&self, after: Option<&Tag>) -> Result<Page<Tag, Tag>, Error> {
        Source::tags(&self.inner, after).await
    }

    async fn referrers(
        &self,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<Page<Descriptor, Digest>, Error> {
        if matches!(self.fault, Fault::WrongReferrer) {
            let wrong = self.inner.resolve(&self.blob.into()).await?;
            return Ok(Page::new(wrong.into_iter().collect(), None));
        }
        Source::referrers(&self.inner, subject, after).await
    }
}

#[tokio::test]
async fn a_failed_image_is_not_visible_and_the_others_are_copied() {
    for (fault, message) in [
        (
            Fault::WrongBytes,
            format!("content of {} has the digest", sha256("bad layer")),
        ),
        (Fault::Cut, "the connection was reset".into()),
        (
            Fault::Absent,
            format!("does not have the blob {}", sha256("bad layer")),
        ),
    ] {
        let (from, to) = (repository("from"), repository("to"));
        let good = image(&from, "amd64", &["good layer"]).await;
        let bad = image(&from, "arm64", &["bad layer"]).await;
        index(&from, &[good.clone(), bad.clone()], &["bad"]).await;
        index(&from, &[good], &["good"]).await;
        let source = Faulty {
            inner: from,
            blob: sha256("bad layer"),
            fault,
        };
        let items = [CopyItem::tag(tag("bad")), CopyItem::tag(tag("good"))];

        let error = ImageCopy::new(&source, &to).run(&items).await.unwrap_err();
        assert!(error.to_string().contains(&message), "{error}");
        assert_eq!(error.is_transient(), matches!(source.fault, Fault::Cut));

        let report = ImageCopy::new(&source, &to)
            .keep_going(true)
            .run(&items)
            .await
            .unwrap();
        assert_eq!((report.copied.len(), report.failed.len()), (1, 1));
        assert!(report.failed[0].error.to_string().contains(&message));
        assert!(to.manifest("good").await.unwrap().is_some());
        assert!(to.manifest("bad").await.unwrap().is_none());
        assert!(to.manifest(digest_of(&bad)).await.unwrap().is_none());
        assert!(to.blob(&sha256("bad layer")).await.unwrap().is_none());

        // Repeated with a source that works, it continues with what is missing.
        let report = ImageCopy::new(&source.inner, &to).run(&items[..1]).await.unwrap();
        assert_eq!(report.failed.len(), 0);
        assert!(to.manifest("bad").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_layout_does_not_list_the_images_of_a_failed_index() {
    let (from, directory) = (repository("from"), tempfile::tempdir().unwrap());
    let images = [
        image(&from, "amd64", &["good layer"]).await,
        image(&from, "arm64", &["bad layer"]).await,
    ];
    index(&from, &images, &["bad"]).await;
    let good = index(
        &from,
        &[image(&from, "s390x", &["another layer"]).await],
        &["good"],
    )
    .await;
    let source = Faulty {
        inner: from,
        blob: sha256("bad layer"),
        fault: Fault::Cut,
    };
    let items = [CopyItem::tag(tag("bad")), CopyItem::tag(tag("good"))];
    let writer = LayoutWriter::create(directory.path()).unwrap();
    let copy = ImageCopy::new(&source, &writer);

    copy.run(&items).await.unwrap_err();
    let report = copy.keep_going(true).run(&items).await.unwrap();

    assert_eq!((report.copied.len(), report.failed.len()), (1, 1));
    let layout = Layout::open(directory.path()).unwrap();
    let listed: Vec<_> = layout
        .entries()
        .iter()
        .map(|entry| entry.descriptor.digest)
        .collect();
    assert_eq!(listed, [digest_of(&good)]);
}

#[tokio::test]
async fn a_manifest_with_other_bytes_is_not_copied() {
    let (from, to) = (repository("from"), repository("to"));
    let child = digest_of(&image(&from, "amd64", &["layer"]).await);
    let source = Faulty {
        inner: from,
        blob: child,
        fault: Fault::WrongManifest,
    };

    let refused = ImageCopy::new(&source, &to)
        .run(&[CopyItem::digest(child)])
        .await
        .unwrap_err();

    assert!(
        matches!(refused, Error::Digest { digest, .. } if digest == child),
        "{refused}"
    );
    assert!(to.blob(&sha256("layer")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_manifest_that_is_wrongly_listed_as_a_referrer_is_not_copied() {
    let (from, to) = (repository("from"), repository("to"));
    let app = digest_of(&image(&from, "amd64", &["layer"]).await);
    let other = digest_of(&image(&from, "arm64", &["another layer"]).await);
    let source = Faulty {
        inner: from,
        blob: other,
        fault: Fault::WrongReferrer,
    };

    ImageCopy::new(&source, &to)
        .referrers(true)
        .run(&[CopyItem::digest(app)])
        .await
        .unwrap();

    assert!(to.manifest(app).await.unwrap().is_some());
    assert!(to.manifest(other).await.unwrap().is_none());
}

#[tokio::test]
async fn a_failed_referrer_is_tried_again_for_the_next_item() {
    let (from, to) = (repository("from"), repository("to"));
    let app = image(&from, "amd64", &["layer"]).await;
    let report = artifact(&from, "bad report", &app).await;
    for name in ["v1", "v2"] {
        put(&from, &document(&from, &app).await, &[name]).await;
    }
    let source = Faulty {
        inner: from,
        blob: sha256("bad report"),
        fault: Fault::Cut,
    };
    let items = [CopyItem::tag(tag("v1")), CopyItem::tag(tag("v2"))];

    let report_of_copy = ImageCopy::new(&source, &to)
        .referrers(true)
        .keep_going(true)
        .run(&items)
        .await
        .unwrap();

    assert_eq!(report_of_copy.failed.len(), 2);
    assert!(to.manifest(digest_of(&report)).await.unwrap().is_none());
    assert!(to.manifest("v2").await.unwrap().is_none());
}

#[tokio::test]
async fn an_export_verifies_what_a_source_sends() {
    let from = repository("from");
    let root = digest_of(&image(&from, "amd64", &["bad layer"]).await);
    for (fault, is_digest) in [(Fault::WrongBytes, true), (Fault::Cut, false)] {
        let source = Faulty {
            inner: from.clone(),
            blob: sha256("bad layer"),
            fault,
        };
        let export = Export::new().add(&source, &[CopyItem::digest(root)], Names::tags());
        let refused = export.write(&mut Vec::new()).await.unwrap_err();
        assert_eq!(matches!(refused, Error::Digest { .. }), is_digest, "{refused}");
    }
}

/// A target that counts the blobs that are put at the same time.
#[derive(Debug)]
struct Counting {
    inner: Repository,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Target for Counting {
    fn describe(&self) -> String {
        "counting".into()
    }

    async fn has(&self, kind: Kind, digest: &Digest, size: u64) -> Result<bool, Error> {
        self.inner.has(kind, digest, size).await
    }

    async fn mount(&self, _: &Digest, _: u64, _: Option<&Origin>) -> Result<bool, Error> {
        Ok(false)
    }

    async fn put_blob(&self, digest: &Digest, size: u64, stream: BlobStream) -> Result<(), Error> {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        // Each of the others gets its turn.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        let put = self.inner.put_blob(digest, size, stream).await;
        self.now.fetch_sub(1, SeqCst);
        put
    }

    async fn put_manifest(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error> {
        assert_eq!(self.now.load(SeqCst), 0, "blobs come before their manifest");
        Target::put_manifest(&self.inner, manifest, tags).await
    }

    async fn finish(&self) -> Result<(), Error> {
        self.inner.finish().await
    }
}

#[tokio::test]
async fn as_many_blobs_as_jobs_are_in_transfer() {
    let from = repository("from");
    let layers: Vec<_> = (0..9).map(|n| format!("layer {n}")).collect();
    let layers: Vec<_> = layers.iter().map(String::as_str).collect();
    let root = digest_of(&image(&from, "amd64", &layers).await);
    for jobs in [1, 3] {
        let to = Counting {
            inner: repository("to"),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        };
        ImageCopy::new(&from, &to)
            .jobs(jobs)
            .run(&[CopyItem::digest(root)])
            .await
            .unwrap();
        assert_eq!(to.most.load(SeqCst), jobs);
    }
}

#[tokio::test]
async fn manifests_that_refer_to_each_other_without_end_are_refused() {
    let (from, to) = (repository("from"), repository("to"));
    let mut entry = index(&from, &[], &[]).await;
    for _ in 0..20 {
        entry = index(&from, &[entry], &[]).await;
    }
    let refused = ImageCopy::new(&from, &to)
        .run(&[CopyItem::digest(digest_of(&entry))])
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("more than 16 manifests"),
        "{refused}"
    );
}
