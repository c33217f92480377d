//! Items that a listing has read beyond the end of a page, for the page that follows.
//!
//! A bucket is listed a directory at a time, in the store's order, so that one page costs as much as all. A long page
//! therefore keeps the items after it. They are as old as the listing, which lacks some of what is added meanwhile, as
//! every listing does. A new listing keeps nothing of an earlier one.

use crate::bucket::Meta;
use registry_core::{Digest, RepositoryName, Tag, storage::Page};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Minimum size of a long page. Shorter pages look for certain items, and always read the bucket.
const LONG: usize = 100;

/// Maximum number of items that are kept for a page. A listing that has more reads its directory again.
const ITEMS: usize = 1 << 16;

/// Number of listings whose next page is kept.
const LISTINGS: usize = 4;

/// Items that the listings of a storage have read beyond their pages.
#[derive(Debug, Default)]
pub(crate) struct KeptListings {
    pub(crate) repositories: Ahead<RepositoryName, ()>,
    pub(crate) digests: Ahead<Digest, Meta>,
    pub(crate) tags: Ahead<Tag, Meta>,
}

/// Items that were read beyond the ends of pages. `V` is what was read of each.
#[derive(Debug)]
pub(crate) struct Ahead<K, V>(Mutex<VecDeque<Kept<K, V>>>);

#[derive(Debug)]
struct Kept<K, V> {
    directory: String,
    /// Last item of the page.
    after: K,
    items: Vec<(K, V)>,
}

impl<K, V> Default for Ahead<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord + Clone, V> Ahead<K, V> {
    /// Takes the items of a directory from which a page is taken, in order, if they were kept.
    pub(crate) fn take(&self, directory: &str, page: &Page<'_, K>) -> Option<Vec<(K, V)>> {
        if page.limit < LONG {
            return None;
        }
        let mut kept = self.lock();
        let Some(after) = page.after else {
            kept.retain(|kept| kept.directory != directory);
            return None;
        };
        let found = kept
            .iter()
            .position(|kept| kept.directory == directory && kept.after == *after)?;
        kept.remove(found).map(|kept| kept.items)
    }

    /// Splits off the items of a page, and keeps the others for the next one. There is one item beyond the page if there are
    /// more.
    pub(crate) fn split(
        &self,
        directory: &str,
        page: &Page<'_, K>,
        mut items: Vec<(K, V)>,
    ) -> (Vec<(K, V)>, bool) {
        let beyond = items.split_off(page.limit.min(items.len()));
        let more = page.limit > 0 && !beyond.is_empty();
        if let Some((last, _)) = items.last()
            && page.limit >= LONG
            && more
            && beyond.len() <= ITEMS
        {
            let mut kept = self.lock();
            if kept.len() >= LISTINGS {
                kept.pop_front();
            }
            kept.push_back(Kept {
                directory: directory.to_owned(),
                after: last.clone(),
                items: beyond,
            });
        }
        (items, more)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Kept<K, V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(range: std::ops::Range<u32>) -> Vec<(u32, ())> {
        range.map(|number| (number, ())).collect()
    }

    #[test]
    fn the_page_that_follows_takes_what_was_kept_and_a_new_listing_does_not() {
        let ahead = Ahead::default();
        let first = Page::first(100);
        assert!(ahead.take("a", &first).is_none());

        let (page, more) = ahead.split("a", &first, numbers(0..250));

        assert_eq!((page.len(), more), (100, true));
        let next = first.after(Some(&99));
        assert!(ahead.take("b", &next).is_none(), "another directory");
        let rest = ahead.take("a", &next).unwrap();
        assert_eq!(rest, numbers(100..250));
        assert!(ahead.take("a", &next).is_none(), "once");
        ahead.split("a", &first, numbers(0..250));
        assert!(ahead.take("a", &first).is_none());
        assert!(ahead.take("a", &next).is_none(), "of the earlier listing");
    }

    #[test]
    fn a_short_page_keeps_nothing() {
        let ahead = Ahead::default();
        let (page, more) = ahead.split("a", &Page::first(2), numbers(0..250));
        assert_eq!((page.len(), more), (2, true));
        assert!(ahead.take("a", &Page::first(2).after(Some(&1))).is_none());
        assert!(ahead.take("a", &Page::first(100).after(Some(&1))).is_none());
    }
}
