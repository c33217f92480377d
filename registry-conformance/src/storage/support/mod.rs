//! Shared parts of the cases: names, content, bodies that break off, and the steps of a push.

mod blobs;
mod collection;
mod image;
mod incoming;
mod listings;
mod uploads;

pub(crate) use self::{
    blobs::{drain, holds, push, read, try_push},
    collection::{
        Graph, announces, assert_in_use, assert_removed, begin, begin_for, begin_for_with, collector, due,
        end, forget_all, graph, link, reclaim, record, remove_all_but_one,
    },
    image::{Image, manifest, put, resolve},
    incoming::Incoming,
    listings::{all, assert_page, tags, texts},
    uploads::{
        append, append_and_drop, append_closing, append_closing_and_drop, appended, close, dropped_at, open,
        prove, settled, state_of,
    },
};

use bytes::Bytes;
use registry_core::{
    MediaType, RepositoryName, Tag,
    storage::{
        Storage, StorageExpire, StorageHealth, StorageInspect, StorageRepair, StorageTrash, StorageWrite,
    },
};

pub(crate) fn repository(name: &str) -> RepositoryName {
    RepositoryName::parse(name).unwrap()
}

pub(crate) fn tag(name: &str) -> Tag {
    Tag::parse(name).unwrap()
}

pub(crate) fn media_type(text: &str) -> MediaType {
    MediaType::parse(text).unwrap()
}

/// Pseudo-random numbers that are the same in every run (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 up to `bound`, exclusive.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Returns `len` bytes without a pattern, so that a part in the wrong place is detected.
pub(crate) fn content(seed: u64, len: usize) -> Bytes {
    let mut random = Random::new(seed);
    let words = std::iter::repeat_with(|| random.next().to_le_bytes());
    words.flatten().take(len).collect()
}

pub(crate) fn writer(storage: &dyn Storage) -> &dyn StorageWrite {
    storage
        .write()
        .expect("the suite is for backends that can be written to")
}

pub(crate) fn inspection(storage: &dyn Storage) -> &dyn StorageInspect {
    storage
        .inspect()
        .expect("a backend that declares `inspect` has the plane")
}

pub(crate) fn expiry(storage: &dyn Storage) -> &dyn StorageExpire {
    storage
        .expire()
        .expect("a backend that declares `expire` has the plane")
}

pub(crate) fn repairs(storage: &dyn Storage) -> &dyn StorageRepair {
    storage
        .repair()
        .expect("a backend that declares `repair` has the plane")
}

pub(crate) fn condition(storage: &dyn Storage) -> &dyn StorageHealth {
    storage
        .health()
        .expect("a backend that declares `health` has the plane")
}

pub(crate) fn trash(storage: &dyn Storage) -> &dyn StorageTrash {
    storage
        .trash()
        .expect("a backend that declares `trash` has the plane")
}
