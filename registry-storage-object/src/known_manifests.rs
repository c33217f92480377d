//! [`KnownManifests`]: manifests that were read and verified, by digest, in a bounded amount of memory.
//!
//! Only content is kept, never a name: whether a repository has the manifest is asked at the store each time.

use bytes::Bytes;
use registry_core::{Digest, MediaType};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A manifest that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) bytes: Bytes,
    /// The media type that its bytes say.
    pub(crate) stated: Option<MediaType>,
}

/// Manifests that were used last.
#[derive(Debug)]
pub(crate) struct KnownManifests {
    capacity: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    documents: HashMap<Digest, (u64, Known)>,
    /// The digests by the time of their last use.
    order: BTreeMap<u64, Digest>,
    uses: u64,
    bytes: u64,
}

impl KnownManifests {
    /// Keeps at most `capacity` bytes of content.
    pub(crate) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, digest: &Digest) -> Option<Known> {
        let mut kept = self.kept();
        let (last, known) = kept.documents.get(digest).cloned()?;
        kept.uses += 1;
        let now = kept.uses;
        kept.order.remove(&last);
        kept.order.insert(now, *digest);
        kept.documents.insert(*digest, (now, known.clone()));
        Some(known)
    }

    /// Adds a manifest whose bytes have this digest. A large one would replace too many others.
    pub(crate) fn add(&self, digest: &Digest, known: Known) {
        let length = known.bytes.len() as u64;
        if length > self.capacity / 4 {
            return;
        }
        let mut kept = self.kept();
        kept.remove(digest);
        kept.uses += 1;
        kept.bytes += length;
        let now = kept.uses;
        kept.order.insert(now, *digest);
        kept.documents.insert(*digest, (now, known));
        while kept.bytes > self.capacity {
            let Some(oldest) = kept.order.first_key_value().map(|(_, digest)| *digest) else {
                break;
            };
            kept.remove(&oldest);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, digest: &Digest) {
        if let Some((last, known)) = self.documents.remove(digest) {
            self.order.remove(&last);
            self.bytes -= known.bytes.len() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use registry_core::Algorithm;

    fn document(seed: u8, length: usize) -> (Digest, Known) {
        let bytes = Bytes::from(vec![seed; length]);
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        (digest, Known { bytes, stated: None })
    }

    #[test]
    fn what_was_used_last_stays_within_the_capacity() {
        let documents = KnownManifests::new(100);
        let all: Vec<_> = (0..6).map(|seed| document(seed, 20)).collect();
        for (digest, known) in &all[..5] {
            documents.add(digest, known.clone());
        }
        assert!(documents.get(&all[0].0).is_some());

        documents.add(&all[5].0, all[5].1.clone());

        let there: Vec<bool> = all
            .iter()
            .map(|(digest, _)| documents.get(digest).is_some())
            .collect();
        assert_eq!(there, [true, false, true, true, true, true]);
        assert_eq!(documents.get(&all[5].0), Some(all[5].1.clone()));
    }

    #[test]
    fn a_document_counts_once_and_a_large_one_is_not_kept() {
        let documents = KnownManifests::new(100);
        let (small, large) = (document(1, 20), document(2, 26));
        for _ in 0..10 {
            documents.add(&small.0, small.1.clone());
            documents.add(&large.0, large.1.clone());
        }
        assert!(documents.get(&small.0).is_some() && documents.get(&large.0).is_none());
        assert_eq!(documents.kept().bytes, 20);
    }
}
