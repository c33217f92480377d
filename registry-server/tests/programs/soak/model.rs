//! The model of one repository: what was acknowledged, and what may be there because nobody answered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use registry_core::{Algorithm, Digest};
use serde_json::json;

use super::BUILDS;
use crate::image::{OCI_INDEX, OCI_MANIFEST, noise, sha256};

/// Number of deleted manifests that are remembered.
const DELETED: usize = 20;
/// Number of blobs that all images consist of.
pub(super) const BLOBS: usize = 48;
/// Number of more blobs, which are deleted in some repositories while images of others have them.
pub(super) const DELETABLE: usize = 4;

/// Returns the bytes of a blob, the same in all repositories.
pub(super) fn blob(number: usize) -> Vec<u8> {
    let length = match number % 12 {
        0 => 300_000,
        of => of * of * 300,
    };
    noise(number as u64 + 1, length)
}

/// A blob of an image, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: usize,
    pub(super) algorithm: Algorithm,
}

impl Part {
    pub(super) fn bytes(self) -> Vec<u8> {
        blob(self.number)
    }

    pub(super) fn digest(self) -> String {
        Digest::of(self.algorithm, &self.bytes()).to_string()
    }
}

/// Content of a manifest.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) media_type: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) blobs: Vec<Part>,
    pub(super) children: Vec<String>,
    pub(super) subject: Option<String>,
    /// True if rules of retention may drop it.
    pub(super) is_build: bool,
}

impl Document {
    pub(super) fn image(seed: &str, blobs: Vec<Part>, subject: Option<(String, usize)>) -> Self {
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

    pub(super) fn index(seed: &str, children: &[(String, usize)]) -> Self {
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

    pub(super) fn digest(&self) -> String {
        sha256(&self.bytes).to_string()
    }
}

/// State of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    There,
    Gone,
    /// An operation on it was not answered, or rules may drop it.
    Unknown,
}

/// Targets at which a tag may point. `None` if it may not exist.
type Targets = BTreeSet<Option<String>>;

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) documents: BTreeMap<String, (Document, State)>,
    pub(super) tags: BTreeMap<String, Targets>,
    /// Tags under rules of retention, the oldest first, each with its target, and true if the push was acknowledged.
    pub(super) builds: VecDeque<(String, String, bool)>,
    deleted: VecDeque<String>,
    /// True while collections may remove what has no tag.
    pub(super) loses_untagged: bool,
}

impl Model {
    /// Notes that what no tag keeps may be collected at any time.
    pub(super) fn give_up_untagged(&mut self) {
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
    pub(super) fn there(&self, selects: impl Fn(&Document) -> bool) -> Vec<String> {
        let there = self.documents.iter().filter(|(_, (document, state))| {
            *state == State::There && !document.is_build && selects(document)
        });
        there.map(|(digest, _)| digest.clone()).collect()
    }

    pub(super) fn document(&self, digest: &str) -> &Document {
        &self.documents[digest].0
    }

    pub(super) fn size(&self, digest: &str) -> usize {
        self.document(digest).bytes.len()
    }

    pub(super) fn set(&mut self, digest: &str, state: State) {
        if let Some((_, present)) = self.documents.get_mut(digest) {
            *present = state;
        }
    }

    /// A push begins, which may have any effect until it is answered.
    pub(super) fn begin_push(&mut self, document: &Document, tag: Option<&str>) {
        let digest = document.digest();
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

    pub(super) fn pushed(&mut self, document: &Document, tag: Option<&str>) {
        let digest = document.digest();
        match tag {
            Some(_) if document.is_build => {
                if let Some(build) = self.builds.back_mut() {
                    build.2 = true;
                }
            }
            Some(tag) => *self.targets(tag) = [Some(digest.clone())].into(),
            None => {}
        }
        if !document.is_build {
            self.set(&digest, State::There);
        }
    }

    fn targets(&mut self, tag: &str) -> &mut Targets {
        self.tags.entry(tag.to_owned()).or_insert_with(|| [None].into())
    }

    pub(super) fn begin_tag_deletion(&mut self, tag: &str) {
        self.targets(tag).insert(None);
    }

    pub(super) fn tag_deleted(&mut self, tag: &str) {
        *self.targets(tag) = [None].into();
    }

    pub(super) fn begin_deletion(&mut self, digest: &str) {
        self.set(digest, State::Unknown);
        for targets in self.tags.values_mut() {
            if targets.contains(&Some(digest.to_owned())) {
                targets.insert(None);
            }
        }
    }

    pub(super) fn deleted(&mut self, digest: &str) {
        self.set(digest, State::Gone);
        for targets in self.tags.values_mut() {
            if targets.remove(&Some(digest.to_owned())) {
                targets.insert(None);
            }
        }
        self.remember_deleted(digest);
    }

    /// Notes that a manifest is gone.
    pub(super) fn gone(&mut self, digest: &str) {
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
    pub(super) fn last_deleted(&self) -> Option<String> {
        let gone = |digest: &&String| {
            self.documents
                .get(*digest)
                .is_some_and(|(_, state)| *state == State::Gone)
        };
        self.deleted.iter().rev().find(gone).cloned()
    }

    /// A restore begins. All that is below may come back, what refers to that, and any tag that may be free.
    pub(super) fn begin_restore(&mut self, digest: &str) {
        let closure = self.closure(digest);
        for digest in closure.into_iter().chain(self.deleted_referrers(digest)) {
            if self.documents[&digest].1 == State::Gone {
                self.set(&digest, State::Unknown);
            }
        }
        for targets in self.tags.values_mut().filter(|targets| targets.contains(&None)) {
            targets.insert(Some(digest.to_owned()));
        }
    }

    /// A restore was acknowledged. What refers to a restored manifest comes back if its record is still there.
    pub(super) fn restored(&mut self, digest: &str, tags: &[String]) {
        for referrer in self.deleted_referrers(digest) {
            self.set(&referrer, State::Unknown);
        }
        for digest in self.closure(digest) {
            self.set(&digest, State::There);
        }
        for tag in tags {
            *self.targets(tag) = [Some(digest.to_owned())].into();
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
    pub(super) fn closure(&self, digest: &str) -> Vec<String> {
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
    pub(super) fn is_free(&self, digest: &str) -> bool {
        self.documents.values().all(|(document, state)| {
            *state == State::Gone || !document.children.iter().any(|child| child == digest)
        })
    }

    /// Returns the builds that no rule may have dropped: acknowledged ones among the newest that may exist.
    pub(super) fn kept_builds(&self) -> impl Iterator<Item = (&str, &str)> {
        let newest = self.builds.iter().rev().take(BUILDS);
        let acknowledged = newest.filter(|(_, _, acknowledged)| *acknowledged);
        acknowledged.map(|(tag, digest, _)| (&**tag, &**digest))
    }

    /// Forgets builds that rules have certainly had the time to drop.
    pub(super) fn forget_old_builds(&mut self) {
        while self.builds.len() > 3 * BUILDS {
            if let Some((_, digest, _)) = self.builds.pop_front() {
                self.documents.remove(&digest);
            }
        }
    }
}
