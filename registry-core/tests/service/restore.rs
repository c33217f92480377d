//! Tests of undoing deletions.

use crate::{digest, filled, manifest, push, ruled};
use async_trait::async_trait;
use registry_core::{
    Digest, Error, Hooks, Identity, MediaType, Registry, RepositoryName, Storage, Tag,
    auth::Decision,
    forward_storage,
    hooks::{Context, Event, EventKind, HookError},
    manifest::Manifest,
    service::{ManifestPush, Repository, Restore, RestoreError},
    storage::{
        Deletion, Document, Listing, MemoryStorage, Page, PutManifest, Seen, StorageCollect, StorageError,
        StorageExpire, StorageHealth, StorageInspect, StorageTrash, StorageWrite, TagExpect, TrashId,
        Trashed,
    },
};
use serde_json::json;
use std::sync::{Arc, Mutex};

fn registry() -> Registry {
    Registry::builder(MemoryStorage::new()).build()
}

fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

fn restore(name: &str) -> Restore {
    Restore::new(tag(name))
}

/// Returns a repository with an image under `v1`, and the digest of the image.
async fn with_image(registry: &Registry) -> (Repository, Digest) {
    let repository = registry.repository("team/app").unwrap();
    repository.push_blob("{}", None).await.unwrap();
    let pushed = repository.put_manifest(push("v1", "first")).await.unwrap();
    (repository, pushed.digest)
}

/// Pushes an index of the images with these comments under a tag. Returns its digest, and those of the images.
async fn push_index(repository: &Repository, name: &str, comments: &[&str]) -> (Digest, Vec<Digest>) {
    let mut children = Vec::new();
    let mut entries = Vec::new();
    for comment in comments {
        let bytes = manifest(comment);
        let child = Digest::of(digest().algorithm(), &bytes);
        entries.push(json!({
            "mediaType": MediaType::OCI_MANIFEST, "digest": child.to_string(), "size": bytes.len(),
        }));
        repository
            .put_manifest(ManifestPush::new(child, bytes))
            .await
            .unwrap();
        children.push(child);
    }
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    let pushed = repository
        .put_manifest(ManifestPush::new(tag(name), index.to_string()))
        .await
        .unwrap();
    (pushed.digest, children)
}

async fn delete(repository: &Repository, reference: impl Into<registry_core::Reference>) {
    assert!(repository.delete_manifest(reference.into()).await.unwrap());
}

async fn resolve(repository: &Repository, name: &str) -> Option<Digest> {
    let found = repository.manifest(name).await.unwrap();
    found.map(|found| found.digest)
}

async fn records(registry: &Registry, repository: &Repository) -> Vec<TrashId> {
    let trash = registry.storage().trash().unwrap();
    let listed = trash.deleted(repository.name(), Page::first(100)).await.unwrap();
    let records = listed.items.into_iter().filter_map(Seen::whole);
    records.map(|record| record.id).collect()
}

#[tokio::test]
async fn a_deleted_tag_points_where_it_did() {
    let registry = registry();
    let (repository, image) = with_image(&registry).await;
    delete(&repository, tag("v1")).await;

    let restored = repository.restore(restore("v1")).await.unwrap();

    assert_eq!((restored.digest, restored.tags), (image, vec![tag("v1")]));
    assert_eq!(resolve(&repository, "v1").await, Some(image));
    assert_eq!(records(&registry, &repository).await, []);
    // What is there again is not deleted.
    let again = repository.restore(restore("v1")).await.unwrap_err();
    assert!(matches!(again, RestoreError::NotDeleted { .. }), "{again}");
    assert!(
        again
            .to_string()
            .starts_with("there is no record of a deletion of v1;"),
        "{again}"
    );
}

#[tokio::test]
async fn an_image_index_comes_back_with_its_tags_and_children_before_parents() {
    let recorder = Recorder::default();
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(recorder.clone())
        .build();
    let (repository, _) = with_image(&registry).await;
    let (index, children) = push_index(&repository, "multi", &["amd64", "arm64"]).await;
    repository
        .put_manifest(again(&repository, index, "multi-2").await)
        .await
        .unwrap();
    delete(&repository, index).await;
    for child in &children {
        delete(&repository, *child).await;
    }
    recorder.0.lock().unwrap().clear();

    let restored = repository.restore(Restore::new(index)).await.unwrap();

    assert_eq!(restored.tags, ["multi", "multi-2"].map(tag));
    let (parent, before) = restored.manifests.split_last().unwrap();
    assert_eq!(*parent, index);
    assert!(children.iter().all(|child| before.contains(child)));
    let pushed = recorder.0.lock().unwrap().clone();
    assert_eq!(pushed, restored.manifests, "each was pushed, in this order");
    for name in ["multi", "multi-2"] {
        assert_eq!(resolve(&repository, name).await, Some(index));
    }
    for child in children {
        assert!(repository.manifest(child).await.unwrap().is_some());
    }
    assert_eq!(records(&registry, &repository).await, []);
}

/// Pushes a manifest without a tag that refers to another one. Returns its digest.
async fn push_referrer(repository: &Repository, subject: Digest, entries: &[Digest], note: &str) -> Digest {
    let mut described = Vec::new();
    for entry in entries.iter().chain([&subject]) {
        let size = repository.manifest(*entry).await.unwrap().unwrap().bytes.len();
        described
            .push(json!({"mediaType": MediaType::OCI_MANIFEST, "digest": entry.to_string(), "size": size}));
    }
    let subject = described.pop().unwrap();
    let bytes = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "artifactType": "application/vnd.example.note",
        "manifests": described, "subject": subject, "annotations": {"note": note},
    })
    .to_string();
    let digest = Digest::of(digest().algorithm(), bytes.as_bytes());
    let pushed = repository.put_manifest(ManifestPush::new(digest, bytes)).await;
    pushed.unwrap().digest
}

#[tokio::test]
async fn referrers_that_were_deleted_with_their_subject_come_back_with_it() {
    let registry = registry();
    let (repository, image) = with_image(&registry).await;
    let unwanted = push_referrer(&repository, image, &[], "deleted before").await;
    let signature = push_referrer(&repository, image, &[], "signature").await;
    let stamp = push_referrer(&repository, signature, &[], "of the signature").await;
    let around = push_referrer(&repository, image, &[image], "contains its subject").await;
    let tagged = push_referrer(&repository, image, &[], "pushed again").await;
    for deleted in [unwanted, image, signature, stamp, around, tagged] {
        delete(&repository, deleted).await;
    }
    let still_deleted = repository.restore(Restore::new(tagged)).await.unwrap();
    assert_eq!(still_deleted.manifests, [tagged]);

    let restored = repository.restore(restore("v1")).await.unwrap();

    let mut manifests = restored.manifests;
    assert_eq!(manifests.last(), Some(&around), "after what it contains");
    let mut expected = vec![image, signature, stamp, around];
    manifests.sort();
    expected.sort();
    assert_eq!(manifests, expected);
    for there in &expected {
        assert!(repository.manifest(*there).await.unwrap().is_some());
    }
    assert!(repository.manifest(unwanted).await.unwrap().is_none());
    assert_eq!(
        records(&registry, &repository).await.len(),
        1,
        "of the unwanted one"
    );
}

/// Returns a push of the same manifest under another tag.
async fn again(repository: &Repository, digest: Digest, name: &str) -> ManifestPush {
    let stored = repository.manifest(digest).await.unwrap().unwrap();
    ManifestPush::new(tag(name), stored.bytes)
}

#[tokio::test]
async fn a_tag_that_has_moved_stays_and_another_tag_can_be_used() {
    let registry = registry();
    let (repository, image) = with_image(&registry).await;
    delete(&repository, image).await;
    let newer = repository.put_manifest(push("v1", "newer")).await.unwrap().digest;

    for restore in [restore("v1"), Restore::new(image)] {
        let refused = repository.restore(restore).await.unwrap_err();
        assert!(
            matches!(&refused, RestoreError::TagMoved { tag: moved, target, .. } if *moved == tag("v1") && *target == newer),
            "{refused}"
        );
        assert!(refused.to_string().contains(&newer.to_string()), "{refused}");
    }
    assert!(
        repository.manifest(image).await.unwrap().is_none(),
        "nothing was restored"
    );

    repository
        .restore(restore("v1").under(Some(tag("old"))))
        .await
        .unwrap();

    assert_eq!(resolve(&repository, "old").await, Some(image));
    assert_eq!(resolve(&repository, "v1").await, Some(newer));
}

#[tokio::test]
async fn content_that_is_gone_is_named_and_nothing_is_restored() {
    let registry = registry();
    let (repository, _) = with_image(&registry).await;
    let (index, children) = push_index(&repository, "multi", &["amd64", "arm64"]).await;
    delete(&repository, index).await;
    delete(&repository, children[0]).await;
    let write = registry.storage().write().unwrap();
    let how = Deletion::new().permanently();
    write
        .delete_manifest(repository.name(), &children[1], how)
        .await
        .unwrap();
    repository.delete_blob(&digest()).await.unwrap();

    let refused = repository.restore(restore("multi")).await.unwrap_err();

    let RestoreError::Gone(mut gone) = refused else {
        panic!("{refused}");
    };
    gone.sort_by_key(ToString::to_string);
    let mut expected = vec![children[1].into(), digest().into()];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(gone, expected);
    for reference in [index, children[0]] {
        assert!(repository.manifest(reference).await.unwrap().is_none());
    }
    assert_eq!(resolve(&repository, "multi").await, None);

    // Pushed again, everything is there.
    repository.push_blob("{}", None).await.unwrap();
    repository
        .put_manifest(ManifestPush::new(children[1], manifest("arm64")))
        .await
        .unwrap();
    repository.restore(restore("multi")).await.unwrap();
    assert_eq!(resolve(&repository, "multi").await, Some(index));
}

#[tokio::test]
async fn of_several_deletions_of_a_tag_the_newest_is_undone_or_the_selected_one() {
    let registry = registry();
    let (repository, first) = with_image(&registry).await;
    delete(&repository, tag("v1")).await;
    let second = repository
        .put_manifest(push("v1", "second"))
        .await
        .unwrap()
        .digest;
    delete(&repository, second).await;
    let oldest = records(&registry, &repository).await[0];

    repository.restore(restore("v1")).await.unwrap();
    assert_eq!(resolve(&repository, "v1").await, Some(second));

    let selected = Restore::record(oldest).under(Some(tag("first")));
    repository.restore(selected).await.unwrap();
    assert_eq!(resolve(&repository, "first").await, Some(first));
    assert_eq!(
        records(&registry, &repository).await,
        [oldest],
        "v1 of it was not restored"
    );
}

#[tokio::test]
async fn a_permanent_deletion_cannot_be_undone() {
    let registry = registry();
    let (repository, _) = with_image(&registry).await;
    let write = registry.storage().write().unwrap();
    let how = Deletion::new().permanently();
    write
        .delete_tag(repository.name(), &tag("v1"), TagExpect::Any, how)
        .await
        .unwrap();

    let refused = repository.restore(restore("v1")).await.unwrap_err();

    assert!(matches!(refused, RestoreError::NotDeleted { .. }), "{refused}");
}

#[tokio::test]
async fn more_tags_than_one_push_may_have_are_restored() {
    let mut limits = registry_core::Limits::default();
    limits.tags_per_put = 3;
    let registry = Registry::builder(MemoryStorage::new()).limits(limits).build();
    let (repository, image) = with_image(&registry).await;
    for name in ["v2", "v3", "v4", "v5", "v6", "v7"] {
        repository.put_manifest(push(name, "first")).await.unwrap();
    }
    delete(&repository, image).await;

    let restored = repository.restore(Restore::new(image)).await.unwrap();

    assert_eq!(restored.tags.len(), 7);
    for name in restored.tags {
        assert_eq!(resolve(&repository, name.as_str()).await, Some(image));
    }
}

#[tokio::test]
async fn only_who_may_push_restores() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = ruled(storage, |who, _, _| match who {
        Some("ann") => Decision::Allow,
        _ => Decision::Deny,
    });
    let repository = registry.repository("team/app").unwrap();
    delete(&repository, tag("v1")).await;

    let eve = repository.clone().as_identity(Identity::new("eve"));
    let refused = eve.restore(restore("v1")).await.unwrap_err();
    assert!(
        matches!(refused, RestoreError::Refused(Error::Denied)),
        "{refused}"
    );

    let ann = repository.clone().as_identity(Identity::new("ann"));
    ann.restore(restore("v1")).await.unwrap();
    let trash = registry.storage().trash().unwrap();
    let history = trash.history(repository.name(), &tag("v1")).await.unwrap();
    assert_eq!(history.last().unwrap().by.as_deref(), Some("ann"));
}

#[tokio::test]
async fn a_restore_that_a_hook_refuses_leaves_the_record() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let repository = Registry::builder(storage.clone())
        .build()
        .repository("team/app")
        .unwrap();
    delete(&repository, tag("v1")).await;
    let registry = Registry::builder(storage).hooks(Closed).build();
    let closed = registry.repository("team/app").unwrap();

    let refused = closed.restore(restore("v1")).await.unwrap_err();

    assert!(
        matches!(refused, RestoreError::Refused(Error::Vetoed { .. })),
        "{refused}"
    );
    assert_eq!(resolve(&repository, "v1").await, None);
    repository.restore(restore("v1")).await.unwrap();
}

#[tokio::test]
async fn a_referrer_that_a_hook_refuses_does_not_prevent_the_restore_of_its_image() {
    let storage = MemoryStorage::new();
    let open = Registry::builder(storage.clone()).build();
    let (repository, image) = with_image(&open).await;
    let before = push_referrer(&repository, image, &[], "signature").await;
    let after = push_referrer(&repository, image, &[image], "contains its subject").await;
    for deleted in [image, before, after] {
        delete(&repository, deleted).await;
    }
    let registry = Registry::builder(storage).hooks(Unsigned).build();

    let restored = registry
        .repository("team/app")
        .unwrap()
        .restore(restore("v1"))
        .await;

    let restored = restored.unwrap();
    assert_eq!(restored.manifests, [image]);
    let mut left: Vec<Digest> = restored.left.iter().map(|left| left.digest).collect();
    left.sort();
    let mut refused = [before, after];
    refused.sort();
    assert_eq!(left, refused);
    assert!(
        restored
            .left
            .iter()
            .all(|left| left.reason.contains("no signatures"))
    );
    assert_eq!(resolve(&repository, "v1").await, Some(image));
    assert_eq!(records(&registry, &repository).await.len(), 2);
    // By itself, and without the hook.
    repository.restore(Restore::new(before)).await.unwrap();
}

#[tokio::test]
async fn a_deleted_manifest_that_cannot_be_read_prevents_no_restore_but_its_own() {
    let storage = MemoryStorage::new();
    let healthy = Registry::builder(storage.clone()).build();
    let (repository, image) = with_image(&healthy).await;
    let other = repository
        .put_manifest(push("v2", "second"))
        .await
        .unwrap()
        .digest;
    let signature = push_referrer(&repository, image, &[], "signature").await;
    for deleted in [image, other, signature] {
        delete(&repository, deleted).await;
    }
    let trash = healthy.storage().trash().unwrap();
    let listed = trash.deleted(repository.name(), Page::first(10)).await.unwrap();
    let mut listed = listed.items.into_iter().filter_map(Seen::whole);
    let record = listed.find(|record| record.digest == other).unwrap().id;
    let registry = Registry::builder(Worn(storage, record, Wear::Unreadable)).build();
    let worn = registry.repository("team/app").unwrap();

    let restored = worn.restore(restore("v1")).await.unwrap();

    assert_eq!(restored.manifests, [signature, image]);
    assert_eq!((restored.left.len(), restored.left[0].digest), (1, other));
    let refused = worn.restore(restore("v2")).await.unwrap_err();
    assert!(
        matches!(refused, RestoreError::Refused(Error::Storage(_))),
        "{refused:?}"
    );
    repository.restore(restore("v2")).await.unwrap();
}

#[tokio::test]
async fn all_deletions_since_a_time_are_undone() {
    let registry = registry();
    let (repository, first) = with_image(&registry).await;
    delete(&repository, first).await;
    let second = repository.put_manifest(push("v1", "second")).await.unwrap();
    let (index, children) = push_index(&repository, "multi", &["a", "b"]).await;
    delete(&repository, second.digest).await;
    delete(&repository, index).await;
    for child in &children {
        delete(&repository, *child).await;
    }
    let since = records(&registry, &repository).await[1].time();

    let mut deletions = repository.deletions(Some(since)).await.unwrap();
    let mut restored = Vec::new();
    while let Some((record, outcome)) = deletions.restore_next().await {
        outcome.unwrap();
        restored.push(record.digest);
    }

    assert_eq!(restored, [children[1], children[0], index, second.digest]);
    assert_eq!(resolve(&repository, "v1").await, Some(second.digest));
    assert_eq!(resolve(&repository, "multi").await, Some(index));

    // The first image stays deleted, as its tag points elsewhere.
    let mut deletions = repository.deletions(None).await.unwrap();
    let (record, outcome) = deletions.restore_next().await.unwrap();
    assert_eq!(record.digest, first);
    assert!(
        matches!(outcome, Err(RestoreError::TagMoved { .. })),
        "{outcome:?}"
    );
    assert!(deletions.restore_next().await.is_none());
}

/// A storage with a deleted manifest, or its record, that is not whole.
#[derive(Debug)]
struct Worn(MemoryStorage, TrashId, Wear);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wear {
    /// The manifest cannot be read.
    Unreadable,
    Damaged,
    Lost,
    /// The record cannot be read.
    Record,
}

impl Storage for Worn {
    forward_storage! { Storage: self => &self.0 }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.0.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.0.inspect()
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.0.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.0.collect()
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.0.health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }
}

#[async_trait]
impl StorageTrash for Worn {
    forward_storage! { StorageTrash: self => self.0.trash(); except deleted, deleted_document }

    async fn deleted(
        &self,
        name: &RepositoryName,
        page: Page<'_, TrashId>,
    ) -> Result<Listing<Seen<Trashed, TrashId>>, StorageError> {
        let mut listed = self.0.deleted(name, page).await?;
        for item in &mut listed.items {
            if self.2 == Wear::Record && matches!(item, Seen::Whole(record) if record.id == self.1) {
                *item = Seen::unreadable(self.1, "the record is garbled");
            }
        }
        Ok(listed)
    }

    async fn deleted_document(&self, name: &RepositoryName, id: &TrashId) -> Result<Document, StorageError> {
        match self.2 {
            Wear::Unreadable if *id == self.1 => Err(StorageError::internal("input/output error")),
            Wear::Damaged if *id == self.1 => Ok(Document::Damaged("{".into())),
            Wear::Lost if *id == self.1 => Ok(Document::Lost),
            _ => self.0.deleted_document(name, id).await,
        }
    }
}

#[tokio::test]
async fn a_deleted_signature_that_is_damaged_or_gone_is_named() {
    for wear in [Wear::Damaged, Wear::Lost] {
        let storage = MemoryStorage::new();
        let healthy = Registry::builder(storage.clone()).build();
        let (repository, image) = with_image(&healthy).await;
        let signature = push_referrer(&repository, image, &[], "signature").await;
        for deleted in [image, signature] {
            delete(&repository, deleted).await;
        }
        let [_, record] = records(&healthy, &repository).await[..] else {
            panic!("two records");
        };
        let registry = Registry::builder(Worn(storage, record, wear)).build();
        let worn = registry.repository("team/app").unwrap();

        let restored = worn.restore(restore("v1")).await.unwrap();

        assert_eq!(restored.manifests, [image]);
        let left: Vec<Digest> = restored.left.iter().map(|left| left.digest).collect();
        assert_eq!(left, [signature], "{wear:?}");
    }
}

#[tokio::test]
async fn a_damaged_manifest_that_was_deleted_before_an_image_does_not_concern_it() {
    let storage = MemoryStorage::new();
    let healthy = Registry::builder(storage.clone()).build();
    let (repository, image) = with_image(&healthy).await;
    let other = repository.put_manifest(push("v2", "second")).await.unwrap();
    delete(&repository, other.digest).await;
    delete(&repository, image).await;
    let [record, _] = records(&healthy, &repository).await[..] else {
        panic!("two records");
    };
    let registry = Registry::builder(Worn(storage, record, Wear::Damaged)).build();
    let worn = registry.repository("team/app").unwrap();

    let restored = worn.restore(restore("v1")).await.unwrap();

    assert!(restored.left.is_empty(), "{restored:?}");
}

#[tokio::test]
async fn an_older_deletion_is_not_silently_undone_in_place_of_one_whose_record_is_garbled() {
    let storage = MemoryStorage::new();
    let healthy = Registry::builder(storage.clone()).build();
    let (repository, older) = with_image(&healthy).await;
    delete(&repository, tag("v1")).await;
    repository.put_manifest(push("v1", "second")).await.unwrap();
    delete(&repository, tag("v1")).await;
    let [first, second] = records(&healthy, &repository).await[..] else {
        panic!("two records");
    };

    for (garbled, is_told) in [(second, true), (first, false)] {
        let registry = Registry::builder(Worn(storage.clone(), garbled, Wear::Record)).build();
        let worn = registry.repository("team/app").unwrap();
        let under = Some(tag(if is_told { "older" } else { "newer" }));

        let restored = worn.restore(restore("v1").under(under)).await.unwrap();

        assert_eq!(restored.digest == older, is_told);
        assert_eq!(restored.unreadable.is_some(), is_told, "{restored:?}");
    }
}

/// Refuses manifests with a subject.
#[derive(Debug)]
struct Unsigned;

#[async_trait]
impl Hooks for Unsigned {
    async fn before_put_manifest(
        &self,
        _: &Context,
        manifest: &Manifest,
        _: &PutManifest,
    ) -> Result<(), HookError> {
        match manifest.subject() {
            Some(_) => Err(HookError::veto("no signatures")),
            None => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_read_only_storage_restores_nothing() {
    let storage = crate::wrapped::Wrapped::new(MemoryStorage::new(), |_, opened| opened);
    let registry = Registry::builder(storage).build();
    let repository = registry.repository(RepositoryName::parse("a").unwrap()).unwrap();

    let refused = repository.restore(restore("v1")).await.unwrap_err();

    assert!(
        matches!(refused, RestoreError::Refused(Error::ReadOnly)),
        "{refused}"
    );
}

/// Records the manifests that are pushed.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<Digest>>>);

impl Hooks for Recorder {
    fn event(&self, event: &Arc<Event>) {
        if let EventKind::ManifestPushed { digest, .. } = &event.kind {
            self.0.lock().unwrap().push(*digest);
        }
    }
}

/// Refuses every manifest.
#[derive(Debug)]
struct Closed;

#[async_trait]
impl Hooks for Closed {
    async fn before_put_manifest(&self, _: &Context, _: &Manifest, _: &PutManifest) -> Result<(), HookError> {
        Err(HookError::veto("closed"))
    }
}
