//! `registry ls`: lists repositories, and the tags of a repository.

use super::{
    operation::{Access, BoxError, Items, Operation, Operator},
    walk::{Cursor, Found, image, inspect, require, size},
};
use registry_core::{
    Digest, RepositoryName, Tag,
    storage::{Result, StorageInspect, TagTarget},
};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Lists all repositories, including those without a manifest.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListRepositories {
    /// True to count what each one has.
    pub(crate) long: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct RepositoryItem {
    pub(crate) repository: String,
    #[serde(flatten)]
    pub(crate) counts: Option<Counts>,
    /// Cause for which it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) tags: u64,
    pub(crate) manifests: u64,
    /// Bytes of everything that the manifests refer to, each content once.
    pub(crate) bytes: u64,
}

impl Operation for ListRepositories {
    const NAME: &'static str = "repositories";
    type Item = RepositoryItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<RepositoryItem>) -> Result<(), BoxError> {
        let inspect = inspect(&operator.registry)?;
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.all_repositories(page).await?;
            for seen in cursor.advance(listing, RepositoryName::clone) {
                let item = match seen {
                    Ok(name) if self.long => counted(inspect, &name).await,
                    Ok(name) => RepositoryItem::of(&name),
                    Err((name, problem)) => RepositoryItem::unreadable(&name, problem),
                };
                items.send(item).await?;
            }
        }
        Ok(())
    }
}

impl RepositoryItem {
    fn of(name: &RepositoryName) -> Self {
        Self {
            repository: name.to_string(),
            counts: None,
            problem: None,
        }
    }

    fn unreadable(name: &RepositoryName, problem: String) -> Self {
        Self {
            problem: Some(problem),
            ..Self::of(name)
        }
    }
}

async fn counted(inspect: &dyn StorageInspect, name: &RepositoryName) -> RepositoryItem {
    match Counts::of(inspect, name).await {
        Ok((counts, unreadable)) => RepositoryItem {
            counts: Some(counts),
            problem: unreadable_items(unreadable),
            ..RepositoryItem::of(name)
        },
        Err(error) => RepositoryItem::unreadable(name, crate::causes::with_causes(&error)),
    }
}

impl Counts {
    /// Counts what a repository holds. Returns also the number of items that cannot be read.
    async fn of(inspect: &dyn StorageInspect, name: &RepositoryName) -> Result<(Self, u64)> {
        let (mut counts, mut unreadable) = (Self::default(), 0);
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.tag_targets(name, page).await?;
            for seen in cursor.advance(listing, |target| target.tag.clone()) {
                counts.tags += 1;
                unreadable += u64::from(seen.is_err());
            }
        }
        let mut content = HashSet::new();
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.manifests(name, page).await?;
            for seen in cursor.advance(listing, |manifest| manifest.digest) {
                counts.manifests += 1;
                let found = match seen {
                    Ok(manifest) => image(inspect, name, &manifest.digest).await?,
                    Err(_) => Found::Damaged,
                };
                let Found::Image(image) = found else {
                    unreadable += 1;
                    continue;
                };
                for (digest, size) in image.own {
                    if content.insert(digest) {
                        counts.bytes += size;
                    }
                }
            }
        }
        Ok((counts, unreadable))
    }
}

/// Describes items that are missing from numbers.
pub(super) fn unreadable_items(count: u64) -> Option<String> {
    (count > 0).then(|| {
        format!("{count} of its tags, links and manifests cannot be read and are not counted; `registry verify` names them")
    })
}

/// Lists the tags of a repository.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ListTags {
    pub(crate) repository: String,
    /// True to describe the manifest of each tag.
    pub(crate) long: bool,
    /// True to list manifests without a tag, too.
    pub(crate) all: bool,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct TagItem {
    /// `None` for a manifest without a tag.
    pub(crate) tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<String>,
    #[serde(flatten)]
    pub(crate) manifest: Option<ManifestItem>,
    /// Cause for which it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct ManifestItem {
    pub(crate) media_type: String,
    /// Bytes of the manifest and everything that it refers to, each content once.
    pub(crate) bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
}

impl Operation for ListTags {
    const NAME: &'static str = "tags";
    type Item = TagItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<TagItem>) -> Result<(), BoxError> {
        let name = RepositoryName::parse(&self.repository)?;
        let inspect = inspect(&operator.registry)?;
        require(&operator.registry, &name).await?;
        let mut tagged = HashSet::new();
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.tag_targets(&name, page).await?;
            for seen in cursor.advance(listing, |target| target.tag.clone()) {
                let item = match seen {
                    Ok(TagTarget { tag, digest, .. }) => {
                        if self.all {
                            tagged.insert(digest);
                        }
                        self.item(inspect, &name, Some(tag), digest).await
                    }
                    Err((tag, problem)) => TagItem::unreadable(Some(tag), None, problem),
                };
                items.send(item).await?;
            }
        }
        if self.all {
            self.untagged(inspect, &name, &tagged, &items).await?;
        }
        Ok(())
    }
}

impl ListTags {
    async fn untagged(
        &self,
        inspect: &dyn StorageInspect,
        name: &RepositoryName,
        tagged: &HashSet<Digest>,
        items: &Items<TagItem>,
    ) -> Result<(), BoxError> {
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.manifests(name, page).await?;
            for seen in cursor.advance(listing, |manifest| manifest.digest) {
                let item = match seen {
                    Ok(manifest) if tagged.contains(&manifest.digest) => continue,
                    Ok(manifest) => self.item(inspect, name, None, manifest.digest).await,
                    Err((digest, problem)) => TagItem::unreadable(None, Some(digest), problem),
                };
                items.send(item).await?;
            }
        }
        Ok(())
    }

    /// Describes a tag, or a manifest without one.
    async fn item(
        &self,
        inspect: &dyn StorageInspect,
        name: &RepositoryName,
        tag: Option<Tag>,
        digest: Digest,
    ) -> TagItem {
        let described = match self.long {
            true => ManifestItem::of(inspect, name, &digest).await.map(Some),
            false => Ok(None),
        };
        match described {
            Ok(manifest) => TagItem {
                tag: tag.map(|tag| tag.to_string()),
                digest: Some(digest.to_string()),
                manifest,
                problem: None,
            },
            Err(problem) => TagItem::unreadable(tag, Some(digest), problem),
        }
    }
}

impl TagItem {
    fn unreadable(tag: Option<Tag>, digest: Option<Digest>, problem: String) -> Self {
        Self {
            tag: tag.map(|tag| tag.to_string()),
            digest: digest.map(|digest| digest.to_string()),
            manifest: None,
            problem: Some(problem),
        }
    }
}

impl ManifestItem {
    async fn of(
        inspect: &dyn StorageInspect,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Self, String> {
        let failed = |error| crate::causes::with_causes(&error);
        let image = match image(inspect, name, digest).await.map_err(failed)? {
            Found::Image(image) => image,
            Found::Damaged => return Err("the manifest is damaged".into()),
            Found::Lost => return Err("the manifest is missing".into()),
        };
        Ok(Self {
            media_type: image.media_type.to_string(),
            subject: image.subject.map(|subject| subject.to_string()),
            bytes: size(inspect, name, image).await.map_err(failed)?,
        })
    }
}
