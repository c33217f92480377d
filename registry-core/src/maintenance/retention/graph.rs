//! [`Graph`]: the manifests of a repository that go with the last tag of another one.

use crate::{
    digest::{AnyDigest, Digest},
    manifest::Manifest,
    storage::StoredManifest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

/// Manifests that have lost their last tag.
///
/// For one that an earlier run left, the time of the loss: what was put since then was put on purpose, and stays.
pub(super) type Lost = BTreeMap<Digest, Option<SystemTime>>;

/// Manifests of a repository, with the manifests that each of them refers to.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<Digest, Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Entries, if it is an index. Some may be blobs, or absent.
    entries: Vec<Digest>,
    subject: Option<Digest>,
    /// Number of bytes.
    size: u64,
    /// Time of the last put, if it is known.
    put: Option<SystemTime>,
    /// True if the manifest itself has gone already.
    is_removed: bool,
}

impl Node {
    /// Returns true if the manifest may go with one that lost its tag at this time.
    fn was_put_before(&self, lost: Option<SystemTime>) -> bool {
        self.is_removed || lost.is_none_or(|lost| self.put.is_some_and(|put| put < lost))
    }
}

impl Graph {
    /// Adds a manifest, with the time of its last put. Returns false if it cannot be read, so that it may refer to any
    /// other.
    pub(super) fn add(&mut self, stored: &StoredManifest, put: Option<SystemTime>) -> bool {
        self.insert(stored, put, false)
    }

    /// Adds a manifest that has gone already, so that what it names can follow.
    pub(super) fn add_removed(&mut self, stored: &StoredManifest) {
        self.insert(stored, None, true);
    }

    fn insert(&mut self, stored: &StoredManifest, put: Option<SystemTime>, is_removed: bool) -> bool {
        let Ok(manifest) = Manifest::parse_stored(&stored.bytes, &stored.media_type) else {
            return false;
        };
        let known = |digest: &AnyDigest| match digest {
            AnyDigest::Known(digest) => Some(*digest),
            AnyDigest::Foreign(_) => None,
        };
        let children = manifest.manifests().iter();
        let node = Node {
            entries: children.filter_map(|child| known(&child.digest)).collect(),
            subject: manifest.subject().and_then(known),
            size: stored.bytes.len() as u64,
            put,
            is_removed,
        };
        self.nodes.insert(stored.digest, node);
        true
    }

    /// Returns true if it has the manifest.
    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.nodes.contains_key(digest)
    }

    /// Returns the entries of an index.
    pub(super) fn entries(&self, digest: &Digest) -> &[Digest] {
        self.nodes.get(digest).map_or(&[], |node| &node.entries)
    }

    /// Returns the number of bytes of a manifest.
    pub(super) fn size(&self, digest: &Digest) -> Option<u64> {
        self.nodes.get(digest).map(|node| node.size)
    }

    /// Returns the manifests that go when `lost` have no tag any more: these, their entries and their referrers.
    ///
    /// A manifest stays if it is `tagged`, if an index that stays has it as an entry, or if it refers to a subject that
    /// stays. Each manifest that goes has its [`Reasons`].
    pub(super) fn going(&self, lost: &Lost, tagged: &BTreeSet<Digest>) -> BTreeMap<Digest, Reasons> {
        let mut going = self.reached(lost, tagged);
        let (parents, _) = self.inverted();
        loop {
            let stays = |digest: &Digest| {
                let parents = parents.get(digest).into_iter().flatten();
                let subject = self.nodes.get(digest).and_then(|node| node.subject);
                let has_subject = subject.is_some_and(|subject| self.nodes.contains_key(&subject));
                parents.into_iter().any(|parent| !going.contains(parent))
                    || has_subject && subject.is_some_and(|subject| !going.contains(&subject))
            };
            let spared: Vec<Digest> = going.iter().copied().filter(stays).collect();
            if spared.is_empty() {
                break;
            }
            for digest in spared {
                going.remove(&digest);
            }
        }
        let is_here = |digest: &Digest| self.nodes.get(digest).is_some_and(|node| !node.is_removed);
        let reasons = |digest: &Digest| {
            let parents = parents.get(digest).cloned().unwrap_or_default();
            let subject = self.nodes.get(digest).and_then(|node| node.subject);
            Reasons(
                parents
                    .into_iter()
                    .chain(subject.filter(|subject| going.contains(subject)))
                    .filter(is_here)
                    .collect(),
            )
        };
        let here = going.iter().filter(|digest| is_here(digest));
        here.map(|digest| (*digest, reasons(digest))).collect()
    }

    /// Returns `lost`, and every untagged manifest that can be reached from them through entries and referrers.
    fn reached(&self, lost: &Lost, tagged: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let (_, referrers) = self.inverted();
        let mut reached = BTreeSet::new();
        let mut roots: Vec<(Digest, Option<SystemTime>)> =
            lost.iter().map(|(digest, at)| (*digest, *at)).collect();
        // The last of them is reached first. What it reaches covers what an earlier loss reaches from there.
        roots.sort_by_key(|(_, lost)| (lost.is_none(), *lost));
        while let Some((digest, lost)) = roots.pop() {
            let node = self.nodes.get(&digest).filter(|node| node.was_put_before(lost));
            if node.is_none() || tagged.contains(&digest) || !reached.insert(digest) {
                continue;
            }
            let entries = self.nodes.get(&digest).map(|node| &node.entries);
            let referrers = referrers.get(&digest);
            let next = entries
                .into_iter()
                .flatten()
                .chain(referrers.into_iter().flatten());
            roots.extend(next.map(|digest| (*digest, lost)));
        }
        reached
    }

    /// Returns the indexes that have each entry, and the referrers of each subject.
    fn inverted(&self) -> (BTreeMap<Digest, Vec<Digest>>, BTreeMap<Digest, Vec<Digest>>) {
        let mut parents: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
        let mut referrers: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
        for (digest, node) in &self.nodes {
            for entry in &node.entries {
                parents.entry(*entry).or_default().push(*digest);
            }
            if let Some(subject) = node.subject {
                referrers.entry(subject).or_default().push(*digest);
            }
        }
        (parents, referrers)
    }
}

/// Manifests that have to be gone before another one may go: its indexes and its subject.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reasons(BTreeSet<Digest>);

impl Reasons {
    /// Returns true if all of them are gone.
    pub(super) fn are_gone(&self, gone: &BTreeSet<Digest>) -> bool {
        self.0.is_subset(gone)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Digest> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use proptest::{collection::btree_set, prelude::*};
    use std::time::Duration;

    fn digest(number: u8) -> Digest {
        Digest::of(Algorithm::Sha256, &[number])
    }

    fn digests(numbers: &[u8]) -> BTreeSet<Digest> {
        numbers.iter().copied().map(digest).collect()
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    /// Returns manifests that have lost their tag in this run.
    fn lost_now(numbers: &[u8]) -> Lost {
        digests(numbers)
            .into_iter()
            .map(|digest| (digest, None))
            .collect()
    }

    /// Describes manifests: number, which is also the time of the put, entries, subject.
    fn graph(nodes: &[(u8, &[u8], Option<u8>)]) -> Graph {
        let mut graph = Graph::default();
        for (number, entries, subject) in nodes {
            let node = Node {
                entries: entries.iter().copied().map(digest).collect(),
                subject: subject.map(digest),
                size: 1,
                put: Some(at(u64::from(*number))),
                is_removed: false,
            };
            graph.nodes.insert(digest(*number), node);
        }
        graph
    }

    fn going(nodes: &[(u8, &[u8], Option<u8>)], lost: &[u8], tagged: &[u8]) -> BTreeSet<Digest> {
        graph(nodes)
            .going(&lost_now(lost), &digests(tagged))
            .into_keys()
            .collect()
    }

    #[test]
    fn an_index_takes_its_entries_and_all_their_referrers_along() {
        let nodes = [
            (1, &[2, 3][..], None),
            (2, &[], None),
            (3, &[], None),
            (4, &[], Some(2)),
            (5, &[], Some(4)),
        ];

        assert_eq!(going(&nodes, &[1], &[]), digests(&[1, 2, 3, 4, 5]));
    }

    #[test]
    fn what_another_index_or_a_tag_has_stays_with_its_referrers() {
        let nodes = [
            (1, &[2, 3][..], None),
            (2, &[], None),
            (3, &[], None),
            (4, &[], Some(2)),
            (9, &[2][..], None),
        ];

        assert_eq!(going(&nodes, &[1], &[9]), digests(&[1, 3]));
        assert_eq!(
            going(&nodes, &[1], &[]),
            digests(&[1, 3]),
            "an index without a tag keeps its entries"
        );
        assert_eq!(going(&nodes, &[1], &[9, 3]), digests(&[1]));
    }

    #[test]
    fn a_manifest_that_lost_its_tag_stays_while_it_is_an_entry_or_refers_to_something() {
        let nodes = [
            (1, &[2][..], None),
            (2, &[], None),
            (3, &[], Some(2)),
            (4, &[], Some(7)),
        ];

        assert!(going(&nodes, &[2], &[1]).is_empty());
        assert!(going(&nodes, &[3], &[1]).is_empty());
        assert_eq!(
            going(&nodes, &[4], &[1]),
            digests(&[4]),
            "its subject is not here"
        );
    }

    #[test]
    fn a_manifest_goes_after_all_that_refer_to_it_and_after_its_subject() {
        let graph = graph(&[
            (1, &[2], None),
            (2, &[], None),
            (3, &[], Some(2)),
            (4, &[2], None),
        ]);

        let going = graph.going(&lost_now(&[1, 4]), &BTreeSet::new());

        let free = |gone: &[u8]| -> BTreeSet<Digest> {
            let gone = digests(gone);
            let free = going.iter().filter(|(_, reasons)| reasons.are_gone(&gone));
            free.map(|(digest, _)| *digest)
                .filter(|digest| !gone.contains(digest))
                .collect()
        };
        assert_eq!(free(&[]), digests(&[1, 4]));
        assert_eq!(free(&[1]), digests(&[4]));
        assert_eq!(free(&[1, 4]), digests(&[2]));
        assert_eq!(free(&[1, 2, 4]), digests(&[3]));
    }

    #[test]
    fn what_was_put_since_the_loss_of_a_tag_stays() {
        let nodes: [(u8, &[u8], Option<u8>); 4] = [
            (1, &[2, 5], None),
            (2, &[], None),
            (5, &[], None),
            (6, &[], Some(2)),
        ];
        let graph = graph(&nodes);
        let going = |lost| -> BTreeSet<Digest> {
            let lost = [(digest(1), lost)].into_iter().collect();
            graph.going(&lost, &BTreeSet::new()).into_keys().collect()
        };

        assert_eq!(going(None), digests(&[1, 2, 5, 6]));
        assert_eq!(going(Some(at(9))), digests(&[1, 2, 5, 6]));
        assert_eq!(going(Some(at(4))), digests(&[1, 2]));
        assert_eq!(going(Some(at(1))), digests(&[]), "put at the time of the loss");
    }

    #[test]
    fn what_a_removed_index_names_follows_it() {
        let mut graph = graph(&[
            (1, &[2], None),
            (2, &[3], None),
            (3, &[], None),
            (4, &[], Some(1)),
        ]);
        for removed in [1, 2] {
            graph.nodes.get_mut(&digest(removed)).unwrap().is_removed = true;
        }
        let lost = [(digest(1), Some(at(9)))].into_iter().collect();

        let going = graph.going(&lost, &BTreeSet::new());

        let nothing = BTreeSet::new();
        let free = going.iter().filter(|(_, reasons)| reasons.are_gone(&nothing));
        let free: BTreeSet<Digest> = free.map(|(digest, _)| *digest).collect();
        assert_eq!(free, digests(&[3, 4]));
    }

    proptest! {
        /// Nothing that stays refers to an entry that goes, and no referrer goes before its subject.
        #[test]
        fn nothing_that_stays_loses_anything(
            edges in btree_set((0..12_u8, 0..12_u8), 0..25),
            subjects in btree_set((0..12_u8, 0..12_u8), 0..8),
            lost in btree_set(0..12_u8, 0..5),
            tagged in btree_set(0..12_u8, 0..5),
        ) {
            let mut nodes: Vec<(u8, Vec<u8>, Option<u8>)> = (0..12).map(|number| (number, Vec::new(), None)).collect();
            // Only to larger numbers: digests allow no circles.
            for (from, to) in edges.into_iter().filter(|(from, to)| from < to) {
                nodes[usize::from(from)].1.push(to);
            }
            for (from, to) in subjects.into_iter().filter(|(from, to)| from > to) {
                nodes[usize::from(from)].2 = Some(to);
            }
            let nodes: Vec<_> = nodes.iter().map(|(number, entries, subject)| (*number, &entries[..], *subject)).collect();
            let lost: Vec<u8> = lost.into_iter().collect();
            let tagged: Vec<u8> = tagged.into_iter().collect();

            let going = going(&nodes, &lost, &tagged);

            for tagged in digests(&tagged) {
                prop_assert!(!going.contains(&tagged));
            }
            for (number, entries, subject) in &nodes {
                if !going.contains(&digest(*number)) {
                    prop_assert!(digests(entries).is_disjoint(&going));
                } else if let Some(subject) = subject {
                    prop_assert!(going.contains(&digest(*subject)));
                }
            }
        }
    }
}
