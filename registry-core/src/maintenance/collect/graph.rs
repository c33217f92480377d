//! [`Graph`]: the manifests of one repository, with everything that keeps each of them.

use super::marks::{Hold, Key, Salt};
use crate::{digest::Digest, storage::HeldManifest};
use std::collections::BTreeSet;

/// Position of a manifest in the graph of its repository.
pub(super) type Index = usize;

/// A manifest, and what it keeps.
pub(super) struct Node {
    pub(super) digest: Digest,
    pub(super) stored: Digest,
    /// Keys of everything that it names.
    pub(super) named: Box<[Key]>,
    /// Manifests of the repository that it names.
    children: Vec<Index>,
    /// Manifests of the repository that name it as their subject.
    referrers: Vec<Index>,
    /// `None` for a manifest that nothing keeps.
    pub(super) hold: Option<Hold>,
}

impl Node {
    fn new(held: &HeldManifest) -> Self {
        Self {
            digest: held.digest,
            stored: held.stored,
            named: Box::default(),
            children: Vec::new(),
            referrers: Vec::new(),
            hold: None,
        }
    }
}

/// The manifests of one repository, in the order of their digests.
#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    /// Adds a manifest. It sorts after the others.
    pub(super) fn push(&mut self, held: &HeldManifest) {
        self.nodes.push(Node::new(held));
    }

    /// Adds a manifest in its place, unless it is there. Nothing refers to any manifest yet.
    pub(super) fn insert(&mut self, held: &HeldManifest) {
        if let Err(place) = self.nodes.binary_search_by(|node| node.digest.cmp(&held.digest)) {
            self.nodes.insert(place, Node::new(held));
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (Index, &Node)> {
        self.nodes.iter().enumerate()
    }

    pub(super) fn node(&self, index: Index) -> Option<&Node> {
        self.nodes.get(index)
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Index> {
        self.nodes.binary_search_by(|node| node.digest.cmp(digest)).ok()
    }

    /// Records what a manifest refers to.
    pub(super) fn refer(
        &mut self,
        index: Index,
        named: &[Digest],
        keys: Box<[Key]>,
        subject: Option<&Digest>,
    ) {
        let children = named.iter().filter_map(|digest| self.find(digest)).collect();
        let subject = subject.and_then(|subject| self.find(subject));
        if let Some(subject) = subject.and_then(|subject| self.nodes.get_mut(subject)) {
            subject.referrers.push(index);
        }
        if let Some(node) = self.nodes.get_mut(index) {
            node.named = keys;
            node.children = children;
        }
    }

    /// Keeps a manifest, everything that it names, and everything that refers to any of these.
    pub(super) fn keep(&mut self, index: Index, hold: Hold) {
        self.keep_each(index, hold, |_| {});
    }

    /// Does the same, and calls `kept` with each manifest that nothing kept before.
    fn keep_each(&mut self, index: Index, hold: Hold, mut kept: impl FnMut(Index)) {
        let mut open = vec![index];
        while let Some(index) = open.pop() {
            let Some(node) = self.nodes.get_mut(index) else {
                continue;
            };
            if node.hold.is_none_or(|known| known < hold) {
                if node.hold.replace(hold).is_none() {
                    kept(index);
                }
                open.extend(node.children.iter().chain(&node.referrers));
            }
        }
    }

    /// Returns the keys of a removed manifest and of everything that it names, which its record keeps.
    pub(super) fn held_by(&self, index: Index, salt: &Salt) -> impl Iterator<Item = (Key, Hold)> {
        let node = self.nodes.get(index).into_iter();
        let keys = node.flat_map(|node| {
            let own = [salt.key(&node.digest), salt.key(&node.stored)];
            own.into_iter().chain(node.named.iter().copied())
        });
        keys.map(|key| (key, Hold::Trash))
    }

    /// Keeps all manifests that nothing keeps otherwise.
    pub(super) fn keep_all(&mut self, hold: Hold) {
        for node in &mut self.nodes {
            node.hold.get_or_insert(hold);
        }
    }
}

/// Removal of the manifests that nothing keeps: parents before children, and subjects before their referrers.
///
/// A manifest that turns out to be in use is kept with everything that it keeps, which is therefore still there.
pub(super) struct Removal {
    /// Manifests that are not removed yet. Those that nothing left keeps come first.
    open: BTreeSet<(Waits, Index)>,
    waits: Vec<Waits>,
}

/// Numbers of manifests to be removed before this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Waits {
    /// Parents. Removed before them, a manifest would be missing in one that turns out to be in use.
    parents: u32,
    /// 1 if its subject is to be removed.
    subjects: u32,
}

impl Removal {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut waits = vec![Waits::default(); graph.len()];
        for (_, node) in graph.nodes().filter(|(_, node)| node.hold.is_none()) {
            for child in &node.children {
                if let Some(waits) = waits.get_mut(*child) {
                    *waits = waits.of_parents(1);
                }
            }
            for referrer in &node.referrers {
                if let Some(waits) = waits.get_mut(*referrer) {
                    *waits = waits.of_subjects(1);
                }
            }
        }
        let open = graph.nodes().filter(|(_, node)| node.hold.is_none());
        let open = open
            .filter_map(|(index, _)| Some((*waits.get(index)?, index)))
            .collect();
        Self { open, waits }
    }

    /// Takes manifests that may be removed now, at most `limit`. Returns none if none are left.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Index> {
        let mut taken = Vec::new();
        while let Some((waits, index)) = self.open.first().copied() {
            // A referrer of what it contains waits for itself. Parents go first.
            let is_ready = waits == Waits::default() || taken.is_empty();
            if !is_ready || taken.len() == limit {
                break;
            }
            self.open.pop_first();
            taken.push(index);
            if waits != Waits::default() {
                break;
            }
        }
        taken
    }

    /// Records that a manifest is gone.
    pub(super) fn removed(&mut self, graph: &Graph, index: Index) {
        let Some(node) = graph.node(index) else {
            return;
        };
        for child in &node.children {
            self.change(*child, |waits| waits.of_parents(-1));
        }
        for referrer in &node.referrers {
            self.change(*referrer, |waits| waits.of_subjects(-1));
        }
    }

    /// Records that a manifest is kept after all, for this reason.
    pub(super) fn spared(&mut self, graph: &mut Graph, index: Index, hold: Hold) {
        let Self { open, waits } = self;
        // Only these: a run may spare every manifest of a large repository.
        graph.keep_each(index, hold, |kept| {
            if let Some(waits) = waits.get(kept) {
                open.remove(&(*waits, kept));
            }
        });
    }

    fn change(&mut self, index: Index, change: impl Fn(Waits) -> Waits) {
        let Some(waits) = self.waits.get_mut(index) else {
            return;
        };
        let before = *waits;
        *waits = change(before);
        if self.open.remove(&(before, index)) {
            self.open.insert((*waits, index));
        }
    }
}

impl Waits {
    const fn of_parents(self, change: i32) -> Self {
        Self {
            parents: self.parents.saturating_add_signed(change),
            ..self
        }
    }

    const fn of_subjects(self, change: i32) -> Self {
        Self {
            subjects: self.subjects.saturating_add_signed(change),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    /// Builds a graph of manifests, in the order of their digests: for each, the manifests that it names, and its
    /// subject.
    fn graph(references: &[(&[usize], Option<usize>)]) -> Graph {
        let mut digests: Vec<Digest> = (0..references.len())
            .map(|number| Digest::of(Algorithm::Sha256, &number.to_be_bytes()))
            .collect();
        digests.sort_unstable();
        let (mut graph, salt) = (Graph::default(), Salt::default());
        for digest in &digests {
            graph.push(&HeldManifest::new(*digest));
        }
        for (index, (named, subject)) in references.iter().enumerate() {
            let named: Vec<Digest> = named.iter().map(|child| digests[*child]).collect();
            let keys = named.iter().map(|digest| salt.key(digest)).collect();
            graph.refer(index, &named, keys, subject.map(|subject| &digests[subject]));
        }
        graph
    }

    fn kept(graph: &Graph) -> Vec<Index> {
        let kept = graph.nodes().filter(|(_, node)| node.hold.is_some());
        kept.map(|(index, _)| index).collect()
    }

    /// Removes everything that may go, except for `spared`. Returns the order.
    fn remove(graph: &mut Graph, spared: &[Index]) -> Vec<Index> {
        let mut removal = Removal::of(graph);
        let mut gone = Vec::new();
        loop {
            let batch = removal.take(2);
            if batch.is_empty() {
                return gone;
            }
            for index in batch {
                if graph.node(index).unwrap().hold.is_some() {
                    continue;
                }
                if spared.contains(&index) {
                    removal.spared(graph, index, Hold::Use);
                } else {
                    removal.removed(graph, index);
                    gone.push(index);
                }
            }
        }
    }

    #[test]
    fn a_manifest_keeps_what_it_names_and_what_refers_to_that() {
        // 0 is an index of 1; 2 signs 1, and 3 signs that signature. 4 refers to 5, which is not kept.
        let mut graph = graph(&[
            (&[1], None),
            (&[], None),
            (&[], Some(1)),
            (&[], Some(2)),
            (&[], Some(5)),
            (&[], None),
        ]);
        graph.keep(0, Hold::Use);
        assert_eq!(kept(&graph), [0, 1, 2, 3]);
    }

    #[test]
    fn parents_go_before_children_and_subjects_before_referrers() {
        let references: &[(&[usize], Option<usize>)] = &[
            (&[], Some(3)),
            (&[4], None),
            (&[1, 4], None),
            (&[1], None),
            (&[], None),
        ];
        let order = remove(&mut graph(references), &[]);
        let at = |index| order.iter().position(|gone| *gone == index).unwrap();
        assert_eq!(order.len(), 5);
        for (parent, (children, subject)) in references.iter().enumerate() {
            assert!(children.iter().all(|child| at(parent) < at(*child)), "{order:?}");
            assert!(
                subject.is_none_or(|subject| at(subject) < at(parent)),
                "{order:?}"
            );
        }
    }

    #[test]
    fn what_is_spared_keeps_what_it_names() {
        let references: &[(&[usize], Option<usize>)] = &[
            (&[1], None),
            (&[2], None),
            (&[], None),
            (&[], Some(2)),
            (&[2], None),
        ];
        let mut graph = graph(references);
        let order = remove(&mut graph, &[1]);
        assert_eq!(order, [0, 4]);
        assert_eq!(kept(&graph), [1, 2, 3]);
    }

    #[test]
    fn an_index_that_refers_to_its_own_child_goes_before_the_child() {
        let order = remove(&mut graph(&[(&[], None), (&[0], Some(0))]), &[]);
        assert_eq!(order, [1, 0]);
    }
}
