//! The model of one repository: what was acknowledged, and what may be there because nobody answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use registry_core::{Algorithm, Digest};
use serde_json::json;

use super::BUILDS;
use crate::image::{OCI_INDEX, OCI_MANIFEST, noise, sha256};

/// Number of deleted manifests that are remembered.
const DELETED: usize = 20;
/// Number of blobs that all images consist of.
pub(crate) const BLOBS: usize = 48;
/// Number of more blobs, which are deleted in some repositories while images of others have them.
pub(crate) const DELETABLE: usize = 4;

/// Returns the bytes of a blob, the same in all repositories.
pub(crate) fn blob(number: usize) -> Vec<u8> {
    let length = match number % 12 {
        0 => 300_000,
        of => of * of * 300,
    };
    noise(number as u64 + 1, length)
}

/// A blob of an image, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: usize,
    pub(crate) algorithm: Algorithm,
}

impl Part {
    pub(crate) fn bytes(self) -> Vec<u8> {
        blob(self.number)
    }

    pub(crate) fn digest(self) -> String {
        Digest::of(self.algorithm, &self.bytes()).to_string()
    }
}

/// Content of a manifest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    pub(crate) media_type: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) blobs: Vec<Part>,
    pub(crate) children: Vec<String>,
    pub(crate) subject: Option<String>,
    /// True if rules of retention may drop it.
    pub(crate) is_build: bool,
}

impl Document {
    pub(crate) fn image(seed: &str, blobs: Vec<Part>, subject: Option<(String, usize)>) -> Self {
        let descriptor = |part: &Part| json!({"mediaType": "application/octet-stream", "digest": part.digest(), "size": part.bytes().len()});
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.soak",
            "config": descriptor(&blobs[0]),
            "layers": blobs.iter().map(descriptor).collect::<Vec<_>>(),
            "annotations": {"seed": seed},
        });
        if let Some((digest, size)) = &subject {
            document["subject"] = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size});
        }
        Self {
            media_type: OCI_MANIFEST,
            bytes: document.to_string().into_bytes(),
            blobs,
            subject: subject.map(|(digest, _)| digest),
            ..Self::default()
        }
    }

    pub(crate) fn index(seed: &str, children: &[(String, usize)]) -> Self {
        let entries = children
            .iter()
            .map(|(digest, size)| json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": size}));
        let document = json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": entries.collect::<Vec<_>>(),
            "annotations": {"seed": seed},
        });
        Self {
            media_type: OCI_INDEX,
            bytes: document.to_string().into_bytes(),
            children: children.iter().map(|(digest, _)| digest.clone()).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn digest(&self) -> String {
        sha256(&self.bytes).to_string()
    }
}

/// State of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    There,
    Gone,
    /// An operation on it was not answered, or rules may drop it.
    Unknown,
}

/// Targets at which a tag may point. `None` if it may not exist.
type Targets = BTreeSet<Option<String>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) documents: BTreeMap<String, (Document, State)>,
    pub(crate) tags: BTreeMap<String, Targets>,
    /// Tags under rules of retention, the oldest first, each with its target, and true if the push was acknowledged.
    pub(crate) builds: VecDeque<(String, String, bool)>,
    deleted: VecDeque<String>,
    /// Effects on tags of the operation that is going on.
    pending: Vec<(String, Option<String>)>,
    /// Effects on tags of unanswered operations, which may come at any time.
    late: BTreeMap<String, Targets>,
    /// True if an unanswered operation may still be performed.
    pub(crate) has_late: bool,
    /// Builds whose push was not answered. They may be newer than later ones.
    late_builds: BTreeSet<String>,
    /// True while collections may remove what has no tag.
    pub(crate) loses_untagged: bool,
    /// True if what a collection is removing counts as absent, and stays if the collection dies.
    pub(crate) may_return: bool,
    /// Manifests that were absent at the last check, and may return.
    missed: BTreeSet<String>,
}

impl Model {
    /// Notes that what no tag keeps may be collected at any time.
    pub(crate) fn give_up_untagged(&mut self) {
        if !self.loses_untagged {
            return;
        }
        let tagged = self.tags.values().filter_map(|targets| match targets.len() {
            1 => targets.first().cloned().flatten(),
            _ => None,
        });
        let mut kept: BTreeSet<String> = BTreeSet::new();
        let mut unread: Vec<String> = tagged.collect();
        while let Some(digest) = unread.pop() {
            let Some((document, _)) = self.documents.get(&digest) else {
                continue;
            };
            unread.extend(document.children.iter().cloned());
            let referrers = self.documents.iter().filter(|(referrer, (document, _))| {
                document.subject.as_ref() == Some(&digest) && !kept.contains(*referrer)
            });
            unread.extend(referrers.map(|(referrer, _)| referrer.clone()));
            kept.insert(digest);
        }
        for (digest, (document, state)) in &mut self.documents {
            if *state == State::There && !document.is_build && !kept.contains(digest) {
                *state = State::Unknown;
            }
        }
    }

    /// Returns the manifests that certainly exist and that a selection allows.
    pub(crate) fn there(&self, selects: impl Fn(&Document) -> bool) -> Vec<String> {
        let there = self.documents.iter().filter(|(_, (document, state))| {
            *state == State::There && !document.is_build && selects(document)
        });
        there.map(|(digest, _)| digest.clone()).collect()
    }

    pub(crate) fn document(&self, digest: &str) -> &Document {
        &self.documents[digest].0
    }

    pub(crate) fn size(&self, digest: &str) -> usize {
        self.document(digest).bytes.len()
    }

    pub(crate) fn set(&mut self, digest: &str, state: State) {
        if let Some((_, present)) = self.documents.get_mut(digest) {
            *present = state;
        }
    }

    /// An operation begins that has no effect so far.
    pub(crate) fn begin(&mut self) {
        self.pending.clear();
    }

    /// A push begins, which may have any effect until it is answered.
    pub(crate) fn begin_push(&mut self, document: &Document, tag: Option<&str>) {
        let digest = document.digest();
        self.pending = tag
            .map(|tag| (tag.to_owned(), Some(digest.clone())))
            .into_iter()
            .collect();
        let known = self.documents.entry(digest.clone());
        let (_, state) = known.or_insert_with(|| (document.clone(), State::Unknown));
        if *state == State::Gone {
            *state = State::Unknown;
        }
        match tag {
            Some(tag) if document.is_build => self.builds.push_back((tag.to_owned(), digest, false)),
            Some(tag) => _ = self.targets(tag).insert(Some(digest)),
            None => {}
        }
    }

    pub(crate) fn pushed(&mut self, document: &Document, tag: Option<&str>) {
        let digest = document.digest();
        match tag {
            Some(_) if document.is_build => {
                if let Some(build) = self.builds.back_mut() {
                    build.2 = true;
                }
            }
            Some(tag) => self.set_target(tag, Some(digest.clone())),
            None => {}
        }
        if !document.is_build {
            self.set(&digest, State::There);
        }
    }

    /// Nobody has answered the operation that is going on, which may still be performed.
    pub(crate) fn unanswered(&mut self) {
        self.has_late = true;
        for (tag, target) in std::mem::take(&mut self.pending) {
            if let Some(digest) = &target {
                self.set(digest, State::Unknown);
            }
            if self.tags.contains_key(&tag) {
                self.late.entry(tag).or_default().insert(target);
            } else {
                self.late_builds.insert(tag);
            }
        }
    }

    /// All operations that were not answered have been performed, or never will be.
    pub(crate) fn settled(&mut self) {
        self.late.clear();
        self.has_late = false;
    }

    /// An operation on a tag was acknowledged.
    fn set_target(&mut self, tag: &str, target: Option<String>) {
        let late = self.late.get(tag).cloned().unwrap_or_default();
        let targets = self.targets(tag);
        *targets = late;
        targets.insert(target);
    }

    fn targets(&mut self, tag: &str) -> &mut Targets {
        self.tags.entry(tag.to_owned()).or_insert_with(|| [None].into())
    }

    pub(crate) fn begin_tag_deletion(&mut self, tag: &str) {
        self.targets(tag).insert(None);
        self.pending = vec![(tag.to_owned(), None)];
    }

    pub(crate) fn tag_deleted(&mut self, tag: &str) {
        self.set_target(tag, None);
    }

    pub(crate) fn begin_deletion(&mut self, digest: &str) {
        self.set(digest, State::Unknown);
        self.pending.clear();
        for (tag, targets) in &mut self.tags {
            if targets.contains(&Some(digest.to_owned())) {
                targets.insert(None);
                self.pending.push((tag.clone(), None));
            }
        }
    }

    pub(crate) fn deleted(&mut self, digest: &str) {
        self.set(digest, State::Gone);
        for targets in self.tags.values_mut() {
            if targets.remove(&Some(digest.to_owned())) {
                targets.insert(None);
            }
        }
        self.remember_deleted(digest);
    }

    /// Notes that a manifest is absent of which nobody knows whether it exists. One that was absent at the last check, too, is
    /// gone: the next collection goes on with the one that has died.
    pub(crate) fn missed(&mut self, digest: &str) {
        if self.documents[digest].1 == State::Unknown
            && self.may_return
            && self.missed.insert(digest.to_owned())
        {
            return;
        }
        self.gone(digest);
    }

    /// Notes that a manifest is there.
    pub(crate) fn found(&mut self, digest: &str) {
        self.missed.remove(digest);
        self.set(digest, State::There);
    }

    /// Returns true if nobody knows whether a manifest exists.
    pub(crate) fn is_unknown(&self, digest: &str) -> bool {
        self.documents
            .get(digest)
            .is_some_and(|(_, state)| *state == State::Unknown)
    }

    /// Notes that a manifest is gone.
    fn gone(&mut self, digest: &str) {
        self.missed.remove(digest);
        if self.documents[digest].1 != State::Gone {
            self.set(digest, State::Gone);
            self.remember_deleted(digest);
        }
    }

    fn remember_deleted(&mut self, digest: &str) {
        self.deleted.push_back(digest.to_owned());
        if self.deleted.len() > DELETED
            && let Some(oldest) = self.deleted.pop_front()
            && self
                .documents
                .get(&oldest)
                .is_some_and(|(_, state)| *state == State::Gone)
        {
            self.documents.remove(&oldest);
        }
    }

    /// Returns a manifest that was deleted and may be restored.
    pub(crate) fn last_deleted(&self) -> Option<String> {
        let gone = |digest: &&String| {
            self.documents
                .get(*digest)
                .is_some_and(|(_, state)| *state == State::Gone)
        };
        self.deleted.iter().rev().find(gone).cloned()
    }

    /// A restore begins. All that is below may come back, what refers to that, and any tag that may be free.
    pub(crate) fn begin_restore(&mut self, digest: &str) {
        let closure = self.closure(digest);
        for digest in closure.into_iter().chain(self.deleted_referrers(digest)) {
            if self.documents[&digest].1 == State::Gone {
                self.set(&digest, State::Unknown);
            }
        }
        self.pending.clear();
        for (tag, targets) in &mut self.tags {
            if targets.contains(&None) {
                targets.insert(Some(digest.to_owned()));
                self.pending.push((tag.clone(), Some(digest.to_owned())));
            }
        }
    }

    /// A restore was acknowledged. What refers to a restored manifest comes back if its record is still there.
    pub(crate) fn restored(&mut self, digest: &str, tags: &[String]) {
        for referrer in self.deleted_referrers(digest) {
            self.set(&referrer, State::Unknown);
        }
        for digest in self.closure(digest) {
            self.set(&digest, State::There);
        }
        for tag in tags {
            self.set_target(tag, Some(digest.to_owned()));
        }
    }

    /// Returns the deleted manifests that refer to a manifest, or to anything below it.
    fn deleted_referrers(&self, digest: &str) -> Vec<String> {
        let closure = self.closure(digest);
        let refers = |document: &Document| document.subject.as_ref().is_some_and(|it| closure.contains(it));
        let deleted = self
            .documents
            .iter()
            .filter(|(_, (document, state))| *state == State::Gone && refers(document));
        deleted.map(|(digest, _)| digest.clone()).collect()
    }

    /// Returns a manifest and all that is below it and known.
    pub(crate) fn closure(&self, digest: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut unread = vec![digest.to_owned()];
        while let Some(digest) = unread.pop() {
            if let Some((document, _)) = self.documents.get(&digest) {
                unread.extend(document.children.iter().cloned());
                found.push(digest);
            }
        }
        found
    }

    /// Returns true if no index that may exist names a manifest, so that its deletion breaks nothing.
    pub(crate) fn is_free(&self, digest: &str) -> bool {
        self.documents.values().all(|(document, state)| {
            *state == State::Gone || !document.children.iter().any(|child| child == digest)
        })
    }

    /// Returns the builds that no rule may have dropped: acknowledged ones among the newest that may exist.
    pub(crate) fn kept_builds(&self) -> impl Iterator<Item = (&str, &str)> {
        let late = self
            .builds
            .iter()
            .filter(|(tag, ..)| self.late_builds.contains(tag));
        let certain = BUILDS.saturating_sub(late.count());
        let newest = self.builds.iter().rev().take(certain);
        let acknowledged = newest.filter(|(_, _, acknowledged)| *acknowledged);
        acknowledged.map(|(tag, digest, _)| (&**tag, &**digest))
    }

    /// Forgets builds that rules have certainly had the time to drop.
    pub(crate) fn forget_old_builds(&mut self) {
        while self.builds.len() > 3 * BUILDS {
            if let Some((_, digest, _)) = self.builds.pop_front() {
                self.documents.remove(&digest);
            }
        }
    }
}
