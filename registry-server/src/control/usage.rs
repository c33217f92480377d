//! `registry du`: the bytes that repositories refer to, and the bytes that only they hold.

use super::{
    listings::unreadable_items,
    operation::{Access, BoxError, Items, Operation, Operator},
    walk::{Cursor, Found, image, inspect, require},
};
use registry_core::{
    Digest, RepositoryName,
    storage::{BlobInfo, HeldBlob, HeldManifest, Result, StorageInspect},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher as _, RandomState},
};

/// Measures one repository, or all of them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Measure {
    pub(crate) repository: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct UsageItem {
    /// `None` for the whole storage.
    pub(crate) repository: Option<String>,
    /// Bytes of everything that its manifests refer to, each content once.
    pub(crate) charged: u64,
    /// Bytes that no other repository holds: what is freed with the repository. For the whole storage, all bytes.
    pub(crate) physical: u64,
    /// Cause for which the numbers are incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl Operation for Measure {
    const NAME: &'static str = "measure";
    type Item = UsageItem;

    fn access(&self) -> Access {
        Access::Read
    }

    async fn run(self, operator: Operator, items: Items<UsageItem>) -> Result<(), BoxError> {
        let inspect = inspect(&operator.registry)?;
        let only = self
            .repository
            .as_deref()
            .map(RepositoryName::parse)
            .transpose()?;
        if let Some(name) = &only {
            require(&operator.registry, name).await?;
        }
        let mut books = Books::of(inspect).await?;
        let mut accounts = Vec::new();
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.all_repositories(page).await?;
            for seen in cursor.advance(listing, RepositoryName::clone) {
                let (name, problem) = match seen {
                    Ok(name) => (name, None),
                    Err((name, problem)) => (name, Some(problem)),
                };
                accounts.push(books.account(inspect, name, problem).await);
            }
        }
        let exclusive = books.exclusive();
        for (number, account) in (0..).zip(accounts) {
            if only.as_ref().is_some_and(|only| *only != account.name) {
                continue;
            }
            let item = UsageItem {
                repository: Some(account.name.to_string()),
                charged: account.charged,
                physical: exclusive.get(&number).copied().unwrap_or_default(),
                problem: account.problem,
            };
            items.send(item).await?;
        }
        if only.is_none() {
            items.send(books.total()).await?;
        }
        Ok(())
    }
}

/// Number of a digest. Two digests have the same one so rarely that it is accepted: a complete digest needs nine times the
/// memory.
type Key = u64;

/// Stored content, and the repositories that hold it.
struct Books {
    hasher: RandomState,
    content: HashMap<Key, Content>,
    repositories: u32,
}

#[derive(Clone, Copy, Debug)]
struct Content {
    size: u64,
    holders: Holders,
    /// True if a manifest refers to it.
    is_used: bool,
}

/// Repositories that hold some content, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holders {
    None,
    One(u32),
    Several,
}

/// Result of reading a repository.
struct Account {
    name: RepositoryName,
    charged: u64,
    problem: Option<String>,
}

impl Books {
    /// Lists all content.
    async fn of(inspect: &dyn StorageInspect) -> Result<Self> {
        let mut books = Self {
            hasher: RandomState::new(),
            content: HashMap::new(),
            repositories: 0,
        };
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.blobs(page).await?;
            for seen in cursor.advance(listing, |blob: &BlobInfo| blob.digest) {
                // The size of content that cannot be read is not known.
                let (digest, size) =
                    seen.map_or_else(|(digest, _)| (digest, 0), |blob| (blob.digest, blob.size));
                let key = books.key(&digest);
                let content = Content {
                    size,
                    holders: Holders::None,
                    is_used: false,
                };
                books.content.insert(key, content);
            }
        }
        Ok(books)
    }

    fn key(&self, digest: &Digest) -> Key {
        self.hasher.hash_one(digest)
    }

    /// Reads what a repository holds and refers to.
    async fn account(
        &mut self,
        inspect: &dyn StorageInspect,
        name: RepositoryName,
        problem: Option<String>,
    ) -> Account {
        let mut account = Account {
            name,
            charged: 0,
            problem,
        };
        if account.problem.is_none() {
            account.problem = match self.read(inspect, &mut account).await {
                Ok(unreadable) => unreadable_items(unreadable),
                Err(error) => Some(crate::causes::with_causes(&error)),
            };
        }
        self.repositories += 1;
        account
    }

    /// Returns the number of items that cannot be read.
    async fn read(&mut self, inspect: &dyn StorageInspect, account: &mut Account) -> Result<u64> {
        let mut unreadable = 0;
        // Digests by which the repository holds content that is stored by another one.
        let mut aliases = HashMap::new();
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.held_blobs(&account.name, page).await?;
            for seen in cursor.advance(listing, |blob: &HeldBlob| blob.digest) {
                let Ok(blob) = seen else {
                    unreadable += 1;
                    continue;
                };
                if blob.stored != blob.digest {
                    aliases.insert(blob.digest, blob.stored);
                }
                self.hold(&blob.stored);
            }
        }
        let mut charged = HashSet::new();
        let mut cursor = Cursor::start();
        while let Some(page) = cursor.page() {
            let listing = inspect.manifests(&account.name, page).await?;
            for seen in cursor.advance(listing, |manifest: &HeldManifest| manifest.digest) {
                let Ok(manifest) = seen else {
                    unreadable += 1;
                    continue;
                };
                self.hold(&manifest.stored);
                if manifest.stored != manifest.digest {
                    aliases.insert(manifest.digest, manifest.stored);
                }
                let Found::Image(image) = image(inspect, &account.name, &manifest.digest).await? else {
                    unreadable += 1;
                    continue;
                };
                for (digest, _) in image.own {
                    let key = self.key(aliases.get(&digest).unwrap_or(&digest));
                    if charged.insert(key)
                        && let Some(content) = self.content.get_mut(&key)
                    {
                        content.is_used = true;
                        account.charged += content.size;
                    }
                }
            }
        }
        Ok(unreadable)
    }

    /// Counts this repository as a holder.
    fn hold(&mut self, digest: &Digest) {
        let (key, number) = (self.key(digest), self.repositories);
        if let Some(content) = self.content.get_mut(&key) {
            content.holders = match content.holders {
                Holders::None => Holders::One(number),
                Holders::One(holder) if holder == number => Holders::One(number),
                Holders::One(_) | Holders::Several => Holders::Several,
            };
        }
    }

    /// Returns the bytes that only one repository holds, by its number.
    fn exclusive(&self) -> HashMap<u32, u64> {
        let mut exclusive = HashMap::new();
        for content in self.content.values() {
            if let Holders::One(number) = content.holders {
                *exclusive.entry(number).or_default() += content.size;
            }
        }
        exclusive
    }

    /// Returns the numbers of the whole storage: shared bytes count once.
    fn total(&self) -> UsageItem {
        let all = self.content.values();
        UsageItem {
            repository: None,
            charged: all
                .clone()
                .filter(|content| content.is_used)
                .map(|content| content.size)
                .sum(),
            physical: all.map(|content| content.size).sum(),
            problem: None,
        }
    }
}
