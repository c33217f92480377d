//! Tests of the copies that a push or a mount makes.

use super::*;

/// Returns other content for each blob than the right one, or a stream that breaks off.
#[derive(Clone, Debug)]
struct Damaged {
    storage: MemoryStorage,
    breaks_off: bool,
}

#[async_trait]
impl Storage for Damaged {
    forward_storage! { Storage: self => &self.storage; except open_blob }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let read = self.storage.open_blob(repository, digest, how).await?;
        Ok(read.map(|read| {
            let content = match self.breaks_off {
                true => Content::stream(Box::pin(BreaksOff)),
                false => Content::bytes("other".into()),
            };
            BlobRead::new(read.info, read.range, BlobBody::Content(content))
        }))
    }
}

struct BreaksOff;

impl Body for BreaksOff {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        Poll::Ready(Some(Err(StorageError::internal("the disk is gone"))))
    }
}

#[tokio::test]
async fn a_manifest_is_complete_in_the_upper_storage_with_all_that_it_names() {
    let (upper, lower, both) = layers();
    let [first, second] = ["first", "second"].map(image);
    for layer in ["first", "second"] {
        push_image(lower.clone(), "app", layer, layer).await;
    }
    // A manifest below an index, with a subject.
    let signature = referrer(1, &first);
    put(lower.clone(), "app", digest(&signature), &signature).await;
    let inner = index(&[&second, &signature]);
    put(lower.clone(), "app", tag("inner"), &inner).await;
    let outer = index(&[&first, &inner]);

    put(both.clone(), "app", tag("outer"), &outer).await;

    let own = repository(upper.clone(), "app");
    for manifest in [&first, &second, &signature, &inner, &outer] {
        let found = own.manifest(digest(manifest)).await.unwrap().unwrap();
        assert_eq!(found.bytes, *manifest);
    }
    for layer in ["first", "second"] {
        assert!(own.blob(&digest(layer)).await.unwrap().is_some());
    }
    let subject = digest(&first);
    let referrers = upper
        .referrers(&name("app"), Referring::new(&subject), Page::first(9))
        .await;
    assert_eq!(
        referrers.unwrap().items.len(),
        1,
        "the copy is listed as a referrer"
    );
    let tags = upper.tags(&name("app"), Page::first(9)).await.unwrap().unwrap();
    assert_eq!(tags.items, [tag("outer")], "no tag is copied");
}

#[tokio::test]
async fn what_may_be_absent_is_copied_if_the_lower_storage_has_it() {
    let (upper, lower, both) = layers();
    push_image(lower.clone(), "app", "base", "layer").await;
    push(lower, "app", "elsewhere").await;
    let registry = Registry::builder(both).allow_sparse_indexes().build();
    let app = registry.repository(name("app")).unwrap();
    let sparse = index(&[&image("layer"), &image("absent")]);
    let image_of_layers = image("layer").replace(
        "]}",
        &format!(
            ",{}]}}",
            descriptor(
                "application/vnd.oci.image.layer.nondistributable.v1.tar",
                "elsewhere"
            )
        ),
    );

    for (reference, manifest) in [("sparse", sparse), ("layers", image_of_layers)] {
        let push = ManifestPush::new(tag(reference), manifest);
        app.put_manifest(push).await.unwrap();
    }

    let own = repository(upper, "app");
    assert!(own.manifest(digest(&image("layer"))).await.unwrap().is_some());
    for blob in ["layer", "elsewhere"] {
        assert!(own.blob(&digest(blob)).await.unwrap().is_some(), "{blob}");
    }
}

#[tokio::test]
async fn a_manifest_that_needs_what_neither_holds_is_refused_and_nothing_is_copied() {
    let (upper, lower, both) = layers();
    push(lower, "app", "layer").await;
    let put = PutManifest {
        needs: ["layer", "absent"]
            .map(|text| Needed::new(digest(text), text.len() as u64, Need::Blob))
            .to_vec(),
        ..PutManifest::new(
            Verified::of(Algorithm::Sha256, image("layer").into()),
            MediaType::parse(MediaType::OCI_MANIFEST).unwrap(),
        )
    };

    let refused = both
        .write()
        .unwrap()
        .put_manifest(&name("app"), put)
        .await
        .unwrap_err();

    assert!(
        matches!(&refused, StorageError::MissingReferences(missing) if *missing == [digest("absent")]),
        "{refused:?}"
    );
    assert!(
        upper
            .blob(&name("app"), &digest("layer"))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_blob_is_not_taken_for_a_manifest_that_only_the_lower_storage_could_have() {
    let (_, lower, both) = layers();
    push(lower, "app", &image("layer")).await;

    let put = ManifestPush::new(tag("v1"), index(&[&image("layer")]));
    let refused = repository(both, "app").put_manifest(put).await.unwrap_err();

    assert!(matches!(refused, Error::MissingEntries(_)), "{refused:?}");
}

#[tokio::test]
async fn damaged_content_of_the_lower_storage_is_missing_and_an_outage_is_an_outage() {
    for breaks_off in [false, true] {
        let (upper, storage, _) = layers();
        push(storage.clone(), "app", "layer").await;
        let both = FallbackStorage::new(upper.clone(), Damaged { storage, breaks_off });
        let app = repository(both.clone(), "app");

        let refused = app
            .put_manifest(ManifestPush::new(tag("v1"), image("layer")))
            .await
            .unwrap_err();
        let mounted = repository(both, "copy")
            .mount(&digest("layer"), Some(&name("app")))
            .await;

        if breaks_off {
            assert!(matches!(refused, Error::Storage(_)), "{refused:?}");
            assert!(matches!(mounted, Err(Error::Storage(_))), "{mounted:?}");
        } else {
            assert!(matches!(refused, Error::MissingReferences(_)), "{refused:?}");
            assert_eq!(mounted.unwrap(), None);
        }
        let inspect = upper.inspect().unwrap();
        assert!(
            inspect.uploading(Page::first(9)).await.unwrap().items.is_empty(),
            "no session is left"
        );
        assert!(inspect.blobs(Page::first(9)).await.unwrap().items.is_empty());
    }
}

/// Returns an index of the other one of two manifests, instead of each. Asked too often, it is gone.
#[derive(Debug)]
struct Circular {
    storage: MemoryStorage,
    manifests: [Digest; 2],
    left: AtomicUsize,
}

#[async_trait]
impl Storage for Circular {
    forward_storage! { Storage: self => &self.storage; except manifest }

    async fn manifest(&self, _: &RepositoryName, reference: &Reference) -> Result<Option<StoredManifest>> {
        let [first, second] = self.manifests;
        let (digest, other) = match reference {
            Reference::Digest(digest) if *digest == first => (first, second),
            Reference::Digest(digest) if *digest == second => (second, first),
            _ => return Ok(None),
        };
        let less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(SeqCst, SeqCst, less).is_err() {
            return Err(StorageError::internal("asked again and again"));
        }
        let entry = format!(
            r#"{{"mediaType":"{}","digest":"{other}","size":2}}"#,
            MediaType::OCI_INDEX
        );
        let document = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{entry}]}}"#,
            MediaType::OCI_INDEX
        );
        let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
        Ok(Some(StoredManifest::new(digest, media_type, document.into())))
    }
}

#[tokio::test]
async fn damaged_manifests_of_the_lower_storage_that_name_each_other_are_missing() {
    let (upper, storage, _) = layers();
    let circular = Circular {
        storage,
        manifests: [digest(&index(&[])), digest(&referrer(1, "subject"))],
        left: AtomicUsize::new(100),
    };
    let both = FallbackStorage::new(upper, circular);

    let push = ManifestPush::new(tag("v1"), index(&[&index(&[])]));
    let refused = repository(both, "app").put_manifest(push).await.unwrap_err();

    assert!(matches!(refused, Error::MissingEntries(_)), "{refused:?}");
}

#[tokio::test]
async fn a_mount_from_the_lower_storage_copies_the_blob() {
    let (upper, lower, both) = layers();
    push(lower, "base", "layer").await;
    let app = repository(both, "app");

    // The source is named, and found.
    for from in [Some(name("base")), None] {
        let mounted = app.mount(&digest("layer"), from.as_ref()).await.unwrap();
        assert!(mounted.is_some(), "{from:?}");
        assert!(
            upper
                .blob(&name("app"), &digest("layer"))
                .await
                .unwrap()
                .is_some()
        );
        assert!(
            upper
                .blob(&name("base"), &digest("layer"))
                .await
                .unwrap()
                .is_none()
        );
    }
    assert_eq!(
        app.mount(&digest("absent"), Some(&name("base"))).await.unwrap(),
        None
    );
}

/// Loses each blob of a repository before a manifest is put, a number of times, as a collection may.
#[derive(Debug)]
struct Forgetful {
    storage: MemoryStorage,
    times: AtomicUsize,
}

impl Storage for Forgetful {
    forward_storage! { Storage: self => &self.storage }

    fn write(&self) -> Option<&dyn StorageWrite> {
        Some(self)
    }
}

#[async_trait]
impl StorageWrite for Forgetful {
    forward_storage! { StorageWrite: self => self.storage.write(); except put_manifest }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        let write = self.storage.write().unwrap();
        let less = |times: usize| times.checked_sub(1);
        if self.times.fetch_update(SeqCst, SeqCst, less).is_ok() {
            for needed in &put.needs {
                write
                    .delete_blob(repository, &needed.digest, Deletion::new())
                    .await?;
            }
        }
        write.put_manifest(repository, put).await
    }
}

#[tokio::test]
async fn copies_that_a_collection_removes_are_made_again_a_few_times() {
    for (times, succeeds) in [(2, true), (usize::MAX, false)] {
        let (storage, lower, _) = layers();
        push(lower.clone(), "app", "layer").await;
        let times = AtomicUsize::new(times);
        let both = FallbackStorage::new(Forgetful { storage, times }, lower);

        let push = ManifestPush::new(tag("v1"), image("layer"));
        let put = repository(both, "app").put_manifest(push).await;

        assert_eq!(put.is_ok(), succeeds, "{put:?}");
    }
}
