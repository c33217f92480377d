//! [`Affected`]: the images that cannot be pulled because of some damage.

use crate::{digest::Digest, name::RepositoryName, reference::Tag, storage::Record};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

/// Maximum number of images that are named for one finding.
const NAMED: usize = 20;

/// Images that cannot be pulled, or not completely, because of a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Affected {
    /// Names of some of the tags, such as `team/app:v1`.
    pub tags: Vec<String>,
    /// Number of tags, including those that are not named.
    pub tag_count: u64,
    /// Number of manifests, tagged or not.
    pub manifest_count: u64,
}

impl Affected {
    /// Returns true if nothing needs what was damaged.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.tag_count == 0 && self.manifest_count == 0
    }

    pub(super) fn add_tag(&mut self, repository: &RepositoryName, tag: &Tag) {
        self.tag_count += 1;
        if self.tags.len() < NAMED {
            self.tags.push(format!("{repository}:{tag}"));
        }
    }
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.tag_count, self.manifest_count) {
            (0, 0) => f.write_str("no image"),
            (0, 1) => f.write_str("1 untagged manifest"),
            (0, manifests) => write!(f, "{manifests} untagged manifests"),
            (tags, _) => {
                f.write_str(&self.tags.join(", "))?;
                match tags - self.tags.len() as u64 {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// References between the items of one repository, as far as damage spreads along them.
#[derive(Debug, Default)]
pub(super) struct References {
    /// The indexes that name a manifest.
    parents: HashMap<Digest, Vec<Digest>>,
    /// Damaged items, each with the manifests that need it directly.
    damaged: BTreeMap<Record, Vec<Digest>>,
}

impl References {
    /// Records that an index names a manifest.
    pub(super) fn contain(&mut self, index: Digest, manifest: Digest) {
        self.parents.entry(manifest).or_default().push(index);
    }

    /// Records that an item is damaged.
    pub(super) fn damage(&mut self, item: Record) {
        self.damaged.entry(item).or_default();
    }

    /// Records that a manifest needs a damaged item.
    pub(super) fn need(&mut self, manifest: Digest, item: Record) {
        self.damaged.entry(item).or_default().push(manifest);
    }

    pub(super) fn is_damaged(&self, item: &Record) -> bool {
        self.damaged.contains_key(item)
    }

    /// Returns true if a manifest needs this item, which is damaged.
    pub(super) fn is_needed(&self, item: &Record) -> bool {
        self.damaged.get(item).is_some_and(|needing| !needing.is_empty())
    }

    /// Returns, for each affected manifest, the damaged items that it needs, directly or through others.
    pub(super) fn spread(&self) -> HashMap<Digest, Vec<Record>> {
        let mut affected: HashMap<Digest, Vec<Record>> = HashMap::new();
        for (item, needing) in &self.damaged {
            let mut seen = HashSet::new();
            let mut open = needing.clone();
            if let Record::Manifest(digest) = item {
                open.push(*digest);
            }
            while let Some(manifest) = open.pop() {
                if seen.insert(manifest) {
                    affected.entry(manifest).or_default().push(item.clone());
                    open.extend(self.parents.get(&manifest).into_iter().flatten());
                }
            }
        }
        affected
    }
}
