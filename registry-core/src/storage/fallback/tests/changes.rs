//! Tests of tags and deletions.

use super::*;

#[tokio::test]
async fn what_the_lower_storage_holds_is_not_deleted() {
    let (_, lower, both) = layers();
    let below = push_image(lower, "app", "v1", "layer").await;
    let app = repository(both.clone(), "app");
    for _ in 0..2 {
        let refused = [
            app.delete_manifest("v1").await,
            app.delete_manifest(below).await,
            app.delete_blob(&digest("layer")).await,
        ];
        for refused in refused {
            let refused = refused.unwrap_err();
            assert_eq!(
                refused.wire(),
                (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported)
            );
            assert!(refused.to_string().contains("lower storage"), "{refused}");
        }
        assert_eq!(resolve(&both, "app", "v1").await, Some(below));
        // The second time, the upper storage has all of it as well.
        push_image(both.clone(), "app", "v1", "layer").await;
    }

    let above = push_image(both.clone(), "app", "v2", "above").await;
    assert!(app.delete_manifest("v2").await.unwrap());
    assert!(app.delete_manifest(above).await.unwrap());
    assert!(app.delete_blob(&digest("above")).await.unwrap());
    assert!(!app.delete_manifest("v2").await.unwrap());
}

#[tokio::test]
async fn no_deletion_brings_the_old_target_of_a_tag_back() {
    let (_, lower, both) = layers();
    push_image(lower, "app", "v1", "below").await;
    let above = push_image(both.clone(), "app", "v1", "above").await;
    put(both.clone(), "app", tag("v2"), &image("above")).await;
    let app = repository(both.clone(), "app");

    for refused in [app.delete_manifest("v1").await, app.delete_manifest(above).await] {
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    }
    assert_eq!(resolve(&both, "app", "v1").await, Some(above));

    // Once the tag is elsewhere, the manifest goes.
    push_image(both.clone(), "app", "v1", "other").await;
    assert!(app.delete_manifest(above).await.unwrap());
    assert_eq!(resolve(&both, "app", "v2").await, None);
}

#[tokio::test]
async fn conditions_and_previous_targets_are_those_that_readers_see() {
    let (upper, lower, both) = layers();
    let below = push_image(lower, "app", "v1", "below").await;
    push(both.clone(), "app", "above").await;
    let app = repository(both.clone(), "app");
    let mut create = ManifestPush::new(tag("v1"), image("above"));
    create.precondition = Some(Precondition::Absent);
    let refused = app.put_manifest(create.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::Precondition { .. }), "{refused:?}");
    let write = both.write().unwrap();
    let put = |tags: Vec<TagMove>| PutManifest {
        tags,
        ..PutManifest::new(
            Verified::of(Algorithm::Sha256, image("above").into()),
            MediaType::parse(MediaType::OCI_MANIFEST).unwrap(),
        )
    };

    // The tags before the one with a conflict move.
    let moves = ["v2", "v1", "v0"].map(|text| TagMove::new(tag(text)).expecting(TagExpect::Absent));
    let outcome = write
        .put_manifest(&name("app"), put(moves.to_vec()))
        .await
        .unwrap();
    assert_eq!(
        outcome.moved.iter().map(|moved| &moved.tag).collect::<Vec<_>>(),
        [&tag("v0")]
    );
    let (failed, conflict) = outcome.failed.unwrap();
    assert_eq!(failed, tag("v1"));
    assert!(
        matches!(conflict, StorageError::TagConflict { current, .. } if current == Some(below)),
        "{conflict:?}"
    );
    assert_eq!(resolve(&upper, "app", "v1").await, None);

    let elsewhere = TagMove::new(tag("v1")).expecting(TagExpect::Is(digest("elsewhere")));
    let outcome = write
        .put_manifest(&name("app"), put(vec![elsewhere]))
        .await
        .unwrap();
    let (_, conflict) = outcome.failed.unwrap();
    assert!(
        matches!(conflict, StorageError::TagConflict { current, .. } if current == Some(below)),
        "{conflict:?}"
    );

    let there = TagMove::new(tag("v1")).expecting(TagExpect::Is(below));
    let outcome = write.put_manifest(&name("app"), put(vec![there])).await.unwrap();
    assert!(outcome.failed.is_none());
    assert_eq!(outcome.moved.first().unwrap().previous, Some(below));
    assert_eq!(resolve(&both, "app", "v1").await, Some(digest(&image("above"))));
}

#[tokio::test]
async fn a_manifest_of_the_lower_storage_is_not_created() {
    let (_, lower, both) = layers();
    push_image(lower, "app", "v1", "layer").await;
    let put = PutManifest::new(
        Verified::of(Algorithm::Sha256, image("layer").into()),
        MediaType::parse(MediaType::OCI_MANIFEST).unwrap(),
    );

    let outcome = both
        .write()
        .unwrap()
        .put_manifest(&name("app"), put)
        .await
        .unwrap();

    assert!(!outcome.created);
}

/// Cannot read manifests by digest, or by tag.
#[derive(Clone, Debug)]
struct Unreadable {
    storage: MemoryStorage,
    by_tag: bool,
}

#[async_trait]
impl Storage for Unreadable {
    forward_storage! { Storage: self => &self.storage; except manifest }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<StoredManifest>> {
        match matches!(reference, Reference::Tag(_)) == self.by_tag {
            true => Err(StorageError::internal("the disk is gone")),
            false => self.storage.manifest(repository, reference).await,
        }
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.storage.write()
    }
}

fn put_of(manifest: &str, moved: TagMove) -> PutManifest {
    PutManifest {
        tags: vec![moved],
        ..PutManifest::new(
            Verified::of(Algorithm::Sha256, manifest.to_owned().into()),
            MediaType::parse(MediaType::OCI_INDEX).unwrap(),
        )
    }
}

#[tokio::test]
async fn a_put_that_fails_because_of_the_lower_storage_has_changed_nothing() {
    let (upper, storage, _) = layers();
    let both = FallbackStorage::new(
        upper.clone(),
        Unreadable {
            storage,
            by_tag: false,
        },
    );

    let put = put_of(&index(&[]), TagMove::new(tag("v1")));
    let put = both.write().unwrap().put_manifest(&name("app"), put).await;

    assert!(put.is_err(), "{put:?}");
    assert_eq!(resolve(&upper, "app", "v1").await, None);
}

#[tokio::test]
async fn a_conflict_is_reported_with_what_is_stored_even_if_the_tag_cannot_be_read() {
    let (storage, lower, _) = layers();
    let base = push_image(lower.clone(), "app", "v1", "layer").await;
    let upper = Unreadable {
        storage: storage.clone(),
        by_tag: true,
    };
    let both = FallbackStorage::new(upper, lower);

    let put = put_of(&index(&[]), TagMove::new(tag("v1")).expecting(TagExpect::Absent));
    let put = both.write().unwrap().put_manifest(&name("app"), put).await;

    let outcome = put.unwrap();
    assert!(
        matches!(&outcome.failed, Some((_, StorageError::TagConflict { current, .. })) if *current == Some(base)),
        "{outcome:?}"
    );
    let stored = storage.manifest(&name("app"), &digest(&index(&[])).into()).await;
    assert!(stored.unwrap().is_some());
}
