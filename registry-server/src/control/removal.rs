//! `registry rm`: removes a tag, a manifest, or all manifests of a repository.
//!
//! The removal goes through the registry, as a client's does: hooks are asked, and events and the access log have it. The
//! bytes are freed by a collection.

use super::{
    lost::{lost_tag, lost_tags},
    operation::{Access, BoxError, Items, Operation, Operator},
    walk::{Cursor, Found, image, inspect, require},
};
use registry_core::{
    Digest, Error as RegistryError, Reference, Registry, RepositoryName, Tag,
    service::Repository,
    storage::{Deletion, HeldManifest, Page, StorageInspect, StorageTrash, TagTarget},
};
use serde::{Deserialize, Serialize};

/// Content to remove: `REPOSITORY:TAG`, `REPOSITORY@DIGEST`, or all of a repository.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Target {
    pub(crate) repository: String,
    /// Tag or digest; `None` for everything.
    pub(crate) reference: Option<String>,
}

/// Reports the consequences of a removal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct PreviewRemoval {
    pub(crate) target: Target,
}

/// Removes content.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Remove {
    pub(crate) target: Target,
    /// True for a removal that cannot be undone.
    pub(crate) permanent: bool,
    /// Digest that a tag has to point at.
    pub(crate) expected: Option<String>,
}

/// Consequence of a removal for a tag or a manifest.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct RemovalItem {
    pub(crate) effect: Effect,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    /// True if it was removed for good: the removal cannot be undone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) permanent: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// The tag or manifest goes, once the operator agrees.
    Removes,
    /// The tag or manifest has gone.
    Removed,
    /// The manifest stays without a tag.
    Untagged,
    /// The manifest refers to a removed one as its subject, and stays.
    LosesSubject,
    /// The index contains a removed manifest, stays, and can no longer be pulled completely.
    LosesPart,
}

impl Target {
    fn parse(&self) -> Result<(RepositoryName, Option<Reference>), BoxError> {
        let name = RepositoryName::parse(&self.repository)?;
        let reference = self.reference.as_deref().map(Reference::parse).transpose()?;
        Ok((name, reference))
    }
}

impl RemovalItem {
    fn tag(effect: Effect, tag: &Tag, digest: Option<&Digest>) -> Self {
        Self {
            effect,
            tag: Some(tag.to_string()),
            digest: digest.map(ToString::to_string),
            permanent: false,
        }
    }

    fn manifest(effect: Effect, digest: &Digest) -> Self {
        Self {
            effect,
            tag: None,
            digest: Some(digest.to_string()),
            permanent: false,
        }
    }

    /// Says if the removal cannot be undone.
    fn permanently(self, permanent: bool) -> Self {
        Self { permanent, ..self }
    }
}

impl Operation for PreviewRemoval {
    const NAME: &'static str = "preview-removal";
    type Item = RemovalItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<RemovalItem>) -> Result<(), BoxError> {
        let (name, reference) = self.target.parse()?;
        let content = Content::of(&operator.registry, &name)?;
        match reference {
            Some(Reference::Tag(tag)) => content.preview_tag(&tag, &items).await,
            Some(Reference::Digest(digest)) => content.preview_manifest(&digest, &items).await,
            None => content.preview_all(&items).await,
        }
    }
}

/// Content of a repository.
struct Content<'a> {
    registry: &'a Registry,
    inspect: &'a dyn StorageInspect,
    /// Knows the lost tags, whose loss a removal accepts.
    trash: Option<&'a dyn StorageTrash>,
    name: &'a RepositoryName,
}

impl<'a> Content<'a> {
    fn of(registry: &'a Registry, name: &'a RepositoryName) -> Result<Self, BoxError> {
        Ok(Self {
            registry,
            inspect: inspect(registry)?,
            trash: registry.storage().trash(),
            name,
        })
    }

    /// Returns the lost tags, each with its last target if that is known.
    async fn lost(&self) -> Result<Vec<(Tag, Option<Digest>)>, BoxError> {
        let Some(trash) = self.trash else {
            return Ok(Vec::new());
        };
        let lost = lost_tags(trash, self.name).await?.into_iter();
        Ok(lost
            .map(|lost| match lost {
                Ok(lost) => (lost.tag, Some(lost.digest)),
                Err((tag, _)) => (tag, None),
            })
            .collect())
    }

    /// Returns the target of a tag or a lost tag, or an inner `None` if it is not known.
    async fn found(&self, tag: &Tag) -> Result<Option<Option<Digest>>, BoxError> {
        match self.target(tag).await? {
            None => self.lost_target(tag).await,
            target => Ok(target),
        }
    }

    /// Returns the last target of a lost tag, or an inner `None` if its history cannot be read.
    async fn lost_target(&self, tag: &Tag) -> Result<Option<Option<Digest>>, BoxError> {
        match self.trash {
            Some(trash) => lost_tag(trash, self.name, tag, before(tag)).await,
            None => Ok(None),
        }
    }

    async fn preview_tag(&self, tag: &Tag, items: &Items<RemovalItem>) -> Result<(), BoxError> {
        let Some(target) = self.target(tag).await? else {
            return self.preview_lost_tag(tag, items).await;
        };
        items
            .send(RemovalItem::tag(Effect::Removes, tag, target.as_ref()))
            .await?;
        if let Some(digest) = target
            && self
                .inspect
                .tags_of(self.name, &digest, Page::first(2))
                .await?
                .items
                .len()
                < 2
        {
            items
                .send(RemovalItem::manifest(Effect::Untagged, &digest))
                .await?;
        }
        Ok(())
    }

    async fn preview_lost_tag(&self, tag: &Tag, items: &Items<RemovalItem>) -> Result<(), BoxError> {
        let Some(target) = self.lost_target(tag).await? else {
            require(self.registry, self.name).await?;
            return Err(format!("{} has no tag {tag}", self.name).into());
        };
        let item = RemovalItem::tag(Effect::Removes, tag, target.as_ref());
        Ok(items.send(item).await?)
    }

    /// Returns the target of a tag, or an inner `None` if the target cannot be read.
    async fn target(&self, tag: &Tag) -> Result<Option<Option<Digest>>, BoxError> {
        let mut cursor = Cursor::after(before(tag));
        while let Some(page) = cursor.page() {
            let listing = self.inspect.tag_targets(self.name, page).await?;
            for seen in cursor.advance(listing, |target| target.tag.clone()) {
                match seen {
                    Ok(found) if found.tag == *tag => return Ok(Some(Some(found.digest))),
                    Err((found, _)) if found == *tag => return Ok(Some(None)),
                    Ok(TagTarget { tag: found, .. }) | Err((found, _)) if found > *tag => return Ok(None),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        Ok(None)
    }

    async fn preview_manifest(&self, digest: &Digest, items: &Items<RemovalItem>) -> Result<(), BoxError> {
        require(self.registry, self.name).await?;
        let mut found = false;
        let mut cursor = Cursor::start();
        let mut others = Vec::new();
        while let Some(page) = cursor.page() {
            let listing = self.inspect.manifests(self.name, page).await?;
            for seen in cursor.advance(listing, |manifest: &HeldManifest| manifest.digest) {
                let other = match seen {
                    Ok(manifest) => manifest.digest,
                    Err((other, _)) => other,
                };
                if other == *digest {
                    found = true;
                } else if let Some(effect) = self.effect_on(&other, digest).await? {
                    others.push(RemovalItem::manifest(effect, &other));
                }
            }
        }
        if !found {
            return Err(format!("{} has no manifest {digest}", self.name).into());
        }
        let mut after = None;
        loop {
            let tags = self
                .inspect
                .tags_of(self.name, digest, Page::first(1000).after(after.as_ref()))
                .await?;
            for tag in &tags.items {
                items
                    .send(RemovalItem::tag(Effect::Removes, tag, Some(digest)))
                    .await?;
            }
            after = tags.items.last().cloned();
            if !tags.more || after.is_none() {
                break;
            }
        }
        items.send(RemovalItem::manifest(Effect::Removes, digest)).await?;
        for item in others {
            items.send(item).await?;
        }
        Ok(())
    }

    /// Returns the effect on a manifest of the removal of another one.
    async fn effect_on(&self, manifest: &Digest, removed: &Digest) -> Result<Option<Effect>, BoxError> {
        let Found::Image(image) = image(self.inspect, self.name, manifest).await? else {
            return Ok(None);
        };
        Ok(if image.subject.as_ref() == Some(removed) {
            Some(Effect::LosesSubject)
        } else if image.children.contains(removed) {
            Some(Effect::LosesPart)
        } else {
            None
        })
    }

    async fn preview_all(&self, items: &Items<RemovalItem>) -> Result<(), BoxError> {
        let lost = self.require_any().await?;
        for (tag, digest) in self.tags().await?.into_iter().chain(lost) {
            items
                .send(RemovalItem::tag(Effect::Removes, &tag, digest.as_ref()))
                .await?;
        }
        for digest in self.manifests().await? {
            items
                .send(RemovalItem::manifest(Effect::Removes, &digest))
                .await?;
        }
        Ok(())
    }

    /// Returns the lost tags. Fails if there are none, and nothing of the repository is stored.
    async fn require_any(&self) -> Result<Vec<(Tag, Option<Digest>)>, BoxError> {
        let lost = self.lost().await?;
        if lost.is_empty() {
            require(self.registry, self.name).await?;
        }
        Ok(lost)
    }

    /// Returns the tags that exist, each with its target if that is known.
    async fn tags(&self) -> Result<Vec<(Tag, Option<Digest>)>, BoxError> {
        let mut tags = Vec::new();
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = self.inspect.tag_targets(self.name, page).await?;
            let seen = cursor.advance(listing, |target| target.tag.clone());
            tags.extend(seen.into_iter().map(|seen| match seen {
                Ok(TagTarget { tag, digest, .. }) => (tag, Some(digest)),
                Err((tag, _)) => (tag, None),
            }));
        }
        Ok(tags)
    }

    /// Returns all manifests, indexes first, so that no index is there without its parts.
    async fn manifests(&self) -> Result<Vec<Digest>, BoxError> {
        let (mut indexes, mut others) = (Vec::new(), Vec::new());
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = self.inspect.manifests(self.name, page).await?;
            for seen in cursor.advance(listing, |manifest: &HeldManifest| manifest.digest) {
                let digest = match seen {
                    Ok(manifest) => manifest.digest,
                    Err((digest, _)) => digest,
                };
                match image(self.inspect, self.name, &digest).await {
                    Ok(Found::Image(image)) if image.media_type.is_index() => indexes.push(digest),
                    _ => others.push(digest),
                }
            }
        }
        indexes.append(&mut others);
        Ok(indexes)
    }
}

/// Returns the longest name that sorts before a tag and begins the same way: few tags are between them.
fn before(tag: &Tag) -> Option<Tag> {
    let text = tag.as_str();
    let before = text.len().checked_sub(1).and_then(|end| text.get(..end));
    before.and_then(|text| Tag::parse(text).ok())
}

impl Operation for Remove {
    const NAME: &'static str = "remove";
    type Item = RemovalItem;

    fn access(&self) -> Access {
        Access::Own
    }

    async fn run(self, operator: Operator, items: Items<RemovalItem>) -> Result<(), BoxError> {
        let (name, reference) = self.target.parse()?;
        let content = Content::of(&operator.registry, &name)?;
        let removal = Removal {
            repository: operator.view().repository(&name)?,
            operator: &operator,
            permanent: self.permanent,
        };
        match reference {
            Some(Reference::Tag(tag)) => {
                let expected = self.expected.as_deref().map(Digest::parse).transpose()?;
                let found = match expected {
                    Some(expected) => Some(Some(expected)),
                    None => content.found(&tag).await?,
                };
                items
                    .send(removal.remove_tag(&tag, found, expected).await?)
                    .await?;
            }
            Some(Reference::Digest(digest)) => {
                removal.remove(Reference::Digest(digest), None, false).await?;
                items
                    .send(RemovalItem::manifest(Effect::Removed, &digest).permanently(self.permanent))
                    .await?;
            }
            None => {
                // Before the manifests: with those, the loss of their tags is accepted, too.
                for (tag, digest) in content.require_any().await? {
                    items
                        .send(removal.remove_tag(&tag, Some(digest), digest).await?)
                        .await?;
                }
                for digest in content.manifests().await? {
                    removal.remove(Reference::Digest(digest), None, false).await?;
                    items
                        .send(RemovalItem::manifest(Effect::Removed, &digest).permanently(self.permanent))
                        .await?;
                }
                // Tags without a manifest.
                for (tag, digest) in content.tags().await? {
                    items
                        .send(removal.remove_tag(&tag, Some(digest), None).await?)
                        .await?;
                }
            }
        }
        Ok(())
    }
}

/// Removal from a repository, by the host on behalf of an operator.
struct Removal<'a> {
    repository: Repository,
    operator: &'a Operator,
    permanent: bool,
}

impl Removal<'_> {
    /// Removes a tag, which was found with its target if that is known; one with an expected target only if it points
    /// there.
    async fn remove_tag(
        &self,
        tag: &Tag,
        found: Option<Option<Digest>>,
        expected: Option<Digest>,
    ) -> Result<RemovalItem, BoxError> {
        let is_unknown = found == Some(None);
        self.remove(Reference::Tag(tag.clone()), expected, is_unknown)
            .await?;
        Ok(RemovalItem::tag(Effect::Removed, tag, found.flatten().as_ref()).permanently(self.permanent))
    }

    /// Removes a tag or a manifest; a tag with an expected target only if it points there. `is_unknown` says that nobody
    /// knows where a tag points, so that its deletion reports no target.
    async fn remove(
        &self,
        reference: Reference,
        expected: Option<Digest>,
        is_unknown: bool,
    ) -> Result<(), BoxError> {
        let repository = &self.repository;
        let name = repository.name();
        let removed = match (&reference, expected) {
            (Reference::Tag(tag), Some(expected)) => {
                let how = match self.permanent {
                    true => Deletion::new().permanently(),
                    false => Deletion::new(),
                };
                repository.delete_tag_at(tag, expected, how).await
            }
            _ if self.permanent => repository.delete_manifest_permanently(reference.clone()).await,
            _ => repository.delete_manifest(reference.clone()).await,
        };
        let removed = removed.map(|removed| removed || is_unknown);
        let target = format!("/v2/{name}/manifests/{reference}");
        self.operator.log_deletion(&target, &removed);
        match removed {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("{name} has no {reference}; it may have been removed meanwhile").into()),
            Err(RegistryError::Precondition { .. }) => {
                Err(format!("{name}:{reference} was moved meanwhile; nothing was removed").into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::TrustedClock,
        control::{ListLost, LossItem, operation::collected},
    };
    use async_trait::async_trait;
    use registry_core::{
        Storage, StorageWrite, forward_storage,
        hooks::{self, Context, HookError, Hooks},
        maintenance::MemoryNotes,
        service::ManifestPush,
        storage::{self, Listing, LostTag, MemoryStorage, Seen, StorageError},
    };
    use registry_storage_fs::FsStorage;
    use std::{fs, os::unix::fs::symlink};

    /// Moves `team/app:v1` to another manifest before every deletion.
    #[derive(Debug)]
    struct Mover(MemoryStorage);

    #[async_trait]
    impl Hooks for Mover {
        async fn before_delete(&self, _: &Context, _: &hooks::Target) -> Result<(), HookError> {
            push(&Registry::builder(self.0.clone()).build(), "moved").await;
            Ok(())
        }
    }

    /// Pushes an index under `team/app:v1`, and returns its digest.
    async fn push(registry: &Registry, note: &str) -> String {
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{{"note":"{note}"}}}}"#
        );
        let put = ManifestPush::new(Tag::parse("v1").unwrap(), index);
        let pushed = registry.repository("team/app").unwrap().put_manifest(put).await;
        pushed.unwrap().digest.to_string()
    }

    #[tokio::test]
    async fn a_tag_that_moves_after_the_operator_has_seen_its_target_stays() {
        for permanent in [false, true] {
            let storage = MemoryStorage::new();
            let registry = Registry::builder(storage.clone()).hooks(Mover(storage)).build();
            let seen = push(&registry, "seen").await;
            let clock = TrustedClock::start(&MemoryNotes::default()).await;
            let operator = Operator::new(registry.clone(), 0, clock);
            let target = Target {
                repository: "team/app".into(),
                reference: Some("v1".into()),
            };

            let removal = Remove {
                target,
                permanent,
                expected: Some(seen),
            };
            let refused = collected(removal, &operator).await.unwrap_err();

            assert!(refused.contains("team/app:v1 was moved meanwhile"), "{refused}");
            let repository = registry.repository("team/app").unwrap();
            assert!(repository.manifest("v1").await.unwrap().is_some());
        }
    }
    /// A storage in memory that cannot list the histories of tags.
    #[derive(Debug)]
    struct Forgetful(MemoryStorage);

    impl Storage for Forgetful {
        forward_storage! { Storage: self => &self.0 }

        fn write(&self) -> Option<&dyn StorageWrite> {
            self.0.write()
        }

        fn inspect(&self) -> Option<&dyn StorageInspect> {
            self.0.inspect()
        }

        fn trash(&self) -> Option<&dyn StorageTrash> {
            Some(self)
        }
    }

    #[async_trait]
    impl StorageTrash for Forgetful {
        forward_storage! { StorageTrash: self => self.0.trash(); except lost_tags }

        async fn lost_tags(
            &self,
            _: &RepositoryName,
            _: Page<'_, Tag>,
        ) -> storage::Result<Listing<Seen<LostTag, Tag>>> {
            Err(StorageError::internal("cannot list the directory"))
        }
    }

    async fn operator(registry: &Registry) -> Operator {
        let clock = TrustedClock::start(&MemoryNotes::default()).await;
        Operator::new(registry.clone(), 0, clock)
    }

    /// Previews a removal and runs it. Returns the removed items.
    async fn removed(operator: &Operator, reference: Option<&str>) -> Result<Vec<RemovalItem>, String> {
        let target = Target {
            repository: "team/app".into(),
            reference: reference.map(Into::into),
        };
        let preview = PreviewRemoval {
            target: target.clone(),
        };
        assert!(!collected(preview, operator).await?.is_empty());
        let removal = Remove {
            target,
            permanent: false,
            expected: None,
        };
        collected(removal, operator).await
    }

    #[tokio::test]
    async fn what_exists_is_removed_without_a_look_at_the_histories_of_other_tags() {
        let registry = Registry::builder(Forgetful(MemoryStorage::new())).build();
        let digest = push(&registry, "1").await;
        let operator = operator(&registry).await;

        assert_eq!(removed(&operator, Some("v1")).await.unwrap().len(), 1);
        assert_eq!(removed(&operator, Some(&digest)).await.unwrap().len(), 1);

        assert!(removed(&operator, Some("v1")).await.is_err());
    }

    #[tokio::test]
    async fn the_loss_of_tags_is_accepted_also_if_their_histories_cannot_be_read() {
        for reference in [Some("v2"), None] {
            let root = tempfile::tempdir().unwrap();
            let storage = FsStorage::open(root.path()).unwrap();
            let registry = Registry::builder(storage).build();
            push(&registry, "1").await;
            let top = root.path().join("docker/registry/v2");
            fs::remove_dir_all(top.join("repositories/team/app/_manifests/tags/v1")).unwrap();
            // A loop of links.
            let history = top.join("_history/team/app/_tags/v2");
            symlink(&history, &history).unwrap();
            let operator = operator(&registry).await;
            let found = collected(ListLost {}, &operator).await.unwrap();
            assert!(
                matches!(&found[..], [LossItem::Lost(lost), LossItem::Unreadable { tag, .. }]
                    if lost.tag == "v1" && tag == "team/app:v2"),
                "{found:?}"
            );

            let items = removed(&operator, reference).await.unwrap();

            let tags: Vec<_> = items.iter().filter_map(|item| item.tag.as_deref()).collect();
            match reference {
                Some(_) => assert_eq!(tags, ["v2"]),
                None => assert_eq!(tags, ["v1", "v2"]),
            }
            let left = collected(ListLost {}, &operator).await.unwrap();
            assert_eq!(left.len(), usize::from(reference.is_some()), "{left:?}");
        }
    }
}
