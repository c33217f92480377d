//! `registry rm`: removes a tag, a manifest, or all manifests of a repository.
//!
//! The removal goes through the registry, as a client's does: hooks are asked, and events and the access log have it. The
//! bytes are freed by a collection.

use super::{
    lost::lost_tags,
    operation::{Access, BoxError, Items, Operation, Operator},
    walk::{Cursor, Found, image, inspect, require},
};
use registry_core::{
    Digest, Error as RegistryError, Reference, Registry, RepositoryName, Tag,
    service::Repository,
    storage::{Deletion, HeldManifest, LostTag, Page, StorageInspect, TagTarget},
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
        let content = Content {
            inspect: inspect(&operator.registry)?,
            lost: lost(&operator, &name).await?,
            name: &name,
        };
        content.require(&operator.registry).await?;
        match reference {
            Some(Reference::Tag(tag)) => content.preview_tag(&tag, &items).await,
            Some(Reference::Digest(digest)) => content.preview_manifest(&digest, &items).await,
            None => content.preview_all(&items).await,
        }
    }
}

/// Returns the lost tags of a repository, if the storage knows any.
async fn lost(operator: &Operator, name: &RepositoryName) -> Result<Vec<LostTag>, BoxError> {
    match operator.registry.storage().trash() {
        Some(trash) => lost_tags(trash, name).await,
        None => Ok(Vec::new()),
    }
}

/// Content of a repository.
struct Content<'a> {
    inspect: &'a dyn StorageInspect,
    /// Tags whose loss a removal accepts.
    lost: Vec<LostTag>,
    name: &'a RepositoryName,
}

impl Content<'_> {
    /// Fails if nothing of the repository is stored, and no tag of it was lost.
    async fn require(&self, registry: &Registry) -> Result<(), BoxError> {
        match self.lost.is_empty() {
            true => require(registry, self.name).await,
            false => Ok(()),
        }
    }

    async fn preview_tag(&self, tag: &Tag, items: &Items<RemovalItem>) -> Result<(), BoxError> {
        if let Some(lost) = self.lost.iter().find(|lost| lost.tag == *tag) {
            let item = RemovalItem::tag(Effect::Removes, tag, Some(&lost.digest));
            return Ok(items.send(item).await?);
        }
        let Some(target) = self.target(tag).await? else {
            return Err(format!("{} has no tag {tag}", self.name).into());
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

    /// Returns the target of a tag, or an inner `None` if the target cannot be read.
    async fn target(&self, tag: &Tag) -> Result<Option<Option<Digest>>, BoxError> {
        // The longest name that sorts before it and begins the same way: few tags are between them.
        let text = tag.as_str();
        let before = text.len().checked_sub(1).and_then(|end| text.get(..end));
        let before = before.and_then(|text| Tag::parse(text).ok());
        let mut cursor = Cursor::after(before);
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
        for (tag, digest) in self.tags().await? {
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
        let lost = self.lost.iter();
        tags.extend(lost.map(|lost| (lost.tag.clone(), Some(lost.digest))));
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

impl Operation for Remove {
    const NAME: &'static str = "remove";
    type Item = RemovalItem;

    fn access(&self) -> Access {
        Access::Own
    }

    async fn run(self, operator: Operator, items: Items<RemovalItem>) -> Result<(), BoxError> {
        let (name, reference) = self.target.parse()?;
        let content = Content {
            inspect: inspect(&operator.registry)?,
            lost: lost(&operator, &name).await?,
            name: &name,
        };
        let removal = Removal {
            repository: operator.view().repository(&name)?,
            operator: &operator,
            permanent: self.permanent,
        };
        match reference {
            Some(Reference::Tag(tag)) => {
                let expected = self.expected.as_deref().map(Digest::parse).transpose()?;
                let target = match expected {
                    Some(expected) => Some(expected),
                    None => content.target(&tag).await?.flatten(),
                };
                removal.remove(Reference::Tag(tag.clone()), expected).await?;
                items
                    .send(
                        RemovalItem::tag(Effect::Removed, &tag, target.as_ref()).permanently(self.permanent),
                    )
                    .await?;
            }
            Some(Reference::Digest(digest)) => {
                removal.remove(Reference::Digest(digest), None).await?;
                items
                    .send(RemovalItem::manifest(Effect::Removed, &digest).permanently(self.permanent))
                    .await?;
            }
            None => {
                content.require(&operator.registry).await?;
                for digest in content.manifests().await? {
                    removal.remove(Reference::Digest(digest), None).await?;
                    items
                        .send(RemovalItem::manifest(Effect::Removed, &digest).permanently(self.permanent))
                        .await?;
                }
                // Tags without a manifest, and lost ones.
                for (tag, digest) in content.tags().await? {
                    removal.remove(Reference::Tag(tag.clone()), None).await?;
                    items
                        .send(
                            RemovalItem::tag(Effect::Removed, &tag, digest.as_ref())
                                .permanently(self.permanent),
                        )
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
    /// Removes a tag or a manifest; a tag with an expected target only if it points there.
    async fn remove(&self, reference: Reference, expected: Option<Digest>) -> Result<(), BoxError> {
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
    use crate::{clock::TrustedClock, control::operation::collected};
    use async_trait::async_trait;
    use registry_core::{
        hooks::{self, Context, HookError, Hooks},
        maintenance::MemoryNotes,
        service::ManifestPush,
        storage::MemoryStorage,
    };

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
}
