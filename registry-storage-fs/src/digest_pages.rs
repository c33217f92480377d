//! Pages of the digests in a directory.
//!
//! A directory is in no order, so that one page of it costs as much as all. A long page therefore keeps the digests that
//! sort after it, up to a limit, for the page that follows. Like every listing, it lacks some of what is added meanwhile.
//!
//! All kept digests were read after the newest long listing began, so that no page is older than its listing. Short pages
//! look for certain digests, and always read the directory.

use crate::{
    error::{Context as _, FsError},
    names::read_dir,
    seams,
};
use registry_core::{Algorithm, Digest, storage::Page};
use std::{
    collections::{BinaryHeap, VecDeque},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    vec,
};

/// Maximum number of digests of a directory in memory: 4 MiB.
const AHEAD: usize = 1 << 16;

/// Number of listings whose next page is known. A listing beyond them reads its directory again.
const LISTINGS: usize = 4;

/// Digests read beyond the ends of pages.
pub(crate) struct DigestPages {
    /// Minimum size of a long page.
    long: usize,
    kept: Mutex<KeptPages>,
}

#[derive(Default)]
struct KeptPages {
    /// Number of long listings that have begun.
    listings: u64,
    /// The oldest first.
    ahead: VecDeque<Kept>,
}

struct Kept {
    directory: PathBuf,
    /// Last digest of the page.
    after: Digest,
    ahead: Ahead,
}

/// Digests of a directory, in order.
struct Ahead {
    /// Number of long listings that had begun when they were read.
    listings: u64,
    digests: vec::IntoIter<Digest>,
    /// Last of these digests, if the directory holds digests after it.
    more_after: Option<Digest>,
}

/// Digests of an algorithm in a directory, in order.
pub(crate) struct Digests {
    directory: PathBuf,
    algorithm: Algorithm,
    ahead: Ahead,
}

impl DigestPages {
    /// Keeps digests between pages of at least `long` digests.
    pub(crate) fn new(long: usize) -> Self {
        Self {
            long,
            kept: Mutex::default(),
        }
    }

    /// Returns the digests from which a page is taken; none if there is no directory.
    pub(crate) fn of(
        &self,
        directory: PathBuf,
        algorithm: Algorithm,
        page: &Page<'_, Digest>,
    ) -> Result<Digests, FsError> {
        let (listings, kept) = self.begin(&directory, page);
        let ahead = match (kept, page.after) {
            (Some(kept), _) => kept,
            // Digests sort by algorithm first.
            (None, Some(after)) if after.algorithm() > algorithm || is_last_of(algorithm, after) => {
                Ahead::none(listings)
            }
            (None, after) => Ahead::read(&directory, algorithm, after, AHEAD, listings)?,
        };
        Ok(Digests {
            directory,
            algorithm,
            ahead,
        })
    }

    /// Returns the number of long listings that have begun, and what was kept for this page.
    fn begin(&self, directory: &Path, page: &Page<'_, Digest>) -> (u64, Option<Ahead>) {
        let mut kept = self.lock();
        let found = match page.after {
            _ if page.limit < self.long => None,
            None => {
                kept.listings += 1;
                kept.ahead.clear();
                None
            }
            Some(after) => {
                let of_page = |kept: &Kept| kept.after == *after && kept.directory == directory;
                kept.ahead.iter().position(of_page)
            }
        };
        let found = found.and_then(|found| kept.ahead.remove(found));
        (kept.listings, found.map(|found| found.ahead))
    }

    /// Keeps the digests that follow a page, of which `after` is the last digest.
    pub(crate) fn keep(&self, page: &Page<'_, Digest>, after: Digest, rest: Digests) {
        let mut kept = self.lock();
        // A listing that has begun since may want digests that these lack.
        if page.limit < self.long || kept.listings != rest.ahead.listings {
            return;
        }
        if kept.ahead.len() >= LISTINGS {
            kept.ahead.pop_front();
        }
        kept.ahead.push_back(Kept {
            directory: rest.directory,
            after,
            ahead: rest.ahead,
        });
    }

    fn lock(&self) -> MutexGuard<'_, KeptPages> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Digests {
    /// Returns the next digest, and leaves it where it is.
    pub(crate) fn peek(&mut self) -> Result<Option<Digest>, FsError> {
        if self.ahead.digests.as_slice().is_empty()
            && let Some(after) = self.ahead.more_after.take()
        {
            self.ahead = Ahead::read(
                &self.directory,
                self.algorithm,
                Some(&after),
                AHEAD,
                self.ahead.listings,
            )?;
        }
        Ok(self.ahead.digests.as_slice().first().copied())
    }

    /// Removes the digest that [`Self::peek`] returned.
    pub(crate) fn advance(&mut self) {
        self.ahead.digests.next();
    }
}

impl Ahead {
    fn none(listings: u64) -> Self {
        Self {
            listings,
            digests: Vec::new().into_iter(),
            more_after: None,
        }
    }

    /// Reads the first `limit` digests after `after`.
    fn read(
        directory: &Path,
        algorithm: Algorithm,
        after: Option<&Digest>,
        limit: usize,
        listings: u64,
    ) -> Result<Self, FsError> {
        let Some(entries) = read_dir(directory).if_there("list", directory)? else {
            return Ok(Self::none(listings));
        };
        let mut first = BinaryHeap::new();
        let mut has_more = false;
        for entry in entries {
            seams::entries(directory, 1);
            let name = entry.at("list", directory)?.file_name();
            let digest = name
                .to_str()
                .and_then(|hex| Digest::from_hex(algorithm, hex).ok());
            let Some(digest) = digest else {
                tracing::warn!(?name, directory = %directory.display(), "ignoring an entry with an invalid name");
                continue;
            };
            if after.is_some_and(|after| digest <= *after) {
                continue;
            }
            first.push(digest);
            if first.len() > limit {
                first.pop();
                has_more = true;
            }
        }
        let digests = first.into_sorted_vec();
        Ok(Self {
            listings,
            more_after: digests.last().copied().filter(|_| has_more),
            digests: digests.into_iter(),
        })
    }
}

/// Returns true if no digest of the algorithm sorts after this one.
fn is_last_of(algorithm: Algorithm, digest: &Digest) -> bool {
    digest.algorithm() == algorithm && digest.as_bytes().iter().all(|byte| *byte == u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn digest(number: u8) -> Digest {
        Digest::from_hex(Algorithm::Sha256, &format!("{number:02x}").repeat(32)).unwrap()
    }

    /// Makes a directory with these digests.
    fn directory(numbers: impl IntoIterator<Item = u8>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for number in numbers {
            add(&directory, number);
        }
        directory
    }

    fn add(directory: &tempfile::TempDir, number: u8) {
        fs::create_dir(directory.path().join(digest(number).hex())).unwrap();
    }

    fn begun(pages: &DigestPages, directory: &tempfile::TempDir, page: &Page<'_, Digest>) -> Digests {
        let directory = directory.path().to_path_buf();
        pages.of(directory, Algorithm::Sha256, page).unwrap()
    }

    /// Takes a page of these digests, and keeps the rest.
    fn taken(pages: &DigestPages, mut digests: Digests, page: &Page<'_, Digest>) -> Vec<u8> {
        let mut taken: Vec<Digest> = Vec::new();
        while let Some(next) = digests.peek().unwrap() {
            if taken.len() == page.limit {
                pages.keep(page, *taken.last().unwrap(), digests);
                break;
            }
            taken.push(next);
            digests.advance();
        }
        taken.iter().map(|digest| digest.as_bytes()[0]).collect()
    }

    fn page(pages: &DigestPages, directory: &tempfile::TempDir, after: Option<u8>, limit: usize) -> Vec<u8> {
        let after = after.map(digest);
        let page = Page::first(limit).after(after.as_ref());
        taken(pages, begun(pages, directory, &page), &page)
    }

    #[test]
    fn a_listing_reads_the_directory_once() {
        let directory = directory(0..100);
        let pages = DigestPages::new(1);
        seams::watch(directory.path());

        let mut listed = page(&pages, &directory, None, 10);
        while let Some(last) = listed.last().copied().filter(|last| *last < 99) {
            listed.extend(page(&pages, &directory, Some(last), 10));
        }

        assert_eq!(listed, (0..100).collect::<Vec<_>>());
        assert_eq!(seams::watch(directory.path()).entries, 100);
        assert!(pages.lock().ahead.is_empty(), "the last page keeps nothing");
    }

    #[test]
    fn a_new_listing_reads_the_directory_again() {
        let directory = directory([1, 2, 4]);
        let pages = DigestPages::new(1);

        assert_eq!(page(&pages, &directory, None, 2), [1, 2]);
        add(&directory, 3);

        assert_eq!(page(&pages, &directory, None, 2), [1, 2]);
        assert_eq!(page(&pages, &directory, Some(2), 2), [3, 4]);
    }

    #[test]
    fn a_new_listing_gets_nothing_that_was_read_before_it() {
        let directory = directory([1, 2, 4]);
        let pages = DigestPages::new(1);

        // The first page of the old listing ends after that of the new one.
        let first = Page::first(2);
        let old = begun(&pages, &directory, &first);
        add(&directory, 3);
        assert_eq!(page(&pages, &directory, None, 2), [1, 2]);
        assert_eq!(taken(&pages, old, &first), [1, 2]);
        assert_eq!(page(&pages, &directory, Some(2), 2), [3, 4]);

        // The old listing goes on at a place at which the new one has not been.
        assert_eq!(page(&pages, &directory, None, 1), [1]);
        add(&directory, 5);
        assert_eq!(page(&pages, &directory, None, 3), [1, 2, 3]);
        assert_eq!(page(&pages, &directory, Some(1), 4), [2, 3, 4, 5]);
    }

    #[test]
    fn a_short_page_reads_the_directory() {
        let directory = directory([1, 2, 4]);
        let pages = DigestPages::new(2);

        assert_eq!(page(&pages, &directory, None, 1), [1]);
        assert!(pages.lock().ahead.is_empty());

        assert_eq!(page(&pages, &directory, None, 2), [1, 2]);
        add(&directory, 3);
        assert_eq!(page(&pages, &directory, Some(2), 1), [3]);
    }

    #[test]
    fn listings_of_several_directories_are_kept_apart() {
        let (one, two) = (directory([1, 2]), directory([1, 3]));
        let pages = DigestPages::new(1);
        page(&pages, &two, None, 1);

        assert_eq!(page(&pages, &one, None, 1), [1]);
        // It keeps the rest of the second directory in a listing that goes on.
        assert_eq!(page(&pages, &two, Some(0), 1), [1]);
        assert_eq!(pages.lock().ahead.len(), 2);

        assert_eq!(page(&pages, &one, Some(1), 1), [2]);
        assert_eq!(page(&pages, &two, Some(1), 1), [3]);
    }

    #[test]
    fn a_listing_that_began_before_another_keeps_nothing_that_it_read_before() {
        let (one, two) = (directory([1, 2, 3, 5]), directory([1, 2]));
        let pages = DigestPages::new(1);

        let first = Page::first(2);
        let older = begun(&pages, &one, &first);
        page(&pages, &two, None, 1);
        assert_eq!(taken(&pages, older, &first), [1, 2]);
        add(&one, 4);

        assert_eq!(page(&pages, &one, Some(2), 2), [3, 4]);
    }

    #[test]
    fn only_the_newest_listings_are_kept() {
        let directories: Vec<_> = (0..=LISTINGS).map(|_| directory([1, 2])).collect();
        let pages = DigestPages::new(1);

        for directory in &directories {
            page(&pages, directory, Some(0), 1);
        }

        assert_eq!(pages.lock().ahead.len(), LISTINGS);
        for directory in &directories {
            assert_eq!(page(&pages, directory, Some(1), 1), [2]);
        }
    }

    #[test]
    fn a_directory_with_too_many_digests_for_the_memory_is_read_in_parts() {
        let directory = directory([5, 1, 4, 2, 3]);
        let mut after = None;
        let mut parts = Vec::new();
        loop {
            let part = Ahead::read(directory.path(), Algorithm::Sha256, after.as_ref(), 2, 0).unwrap();
            parts.push(
                part.digests
                    .as_slice()
                    .iter()
                    .map(|digest| digest.as_bytes()[0])
                    .collect(),
            );
            after = part.more_after;
            if after.is_none() {
                break;
            }
        }

        let parts: Vec<Vec<u8>> = parts;
        assert_eq!(parts, [vec![1, 2], vec![3, 4], vec![5]]);
    }

    #[test]
    fn nothing_sorts_after_the_last_digest_of_an_algorithm() {
        let directory = directory([1, 2]);
        let pages = DigestPages::new(1);
        seams::watch(directory.path());

        assert_eq!(page(&pages, &directory, Some(u8::MAX), 2), [0; 0]);

        assert_eq!(seams::watch(directory.path()).entries, 0);
    }
}
