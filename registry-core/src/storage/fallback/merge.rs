//! [`merge`]: one page of two listings.

use crate::storage::page::Listing;
use std::collections::BTreeMap;

/// Merges two pages after the same key, each of at most `limit` items in the order of their keys. Of two items with the
/// same key, the one of `upper` stays.
pub(super) fn merge<T, K: Clone + Ord>(
    limit: usize,
    upper: Listing<T>,
    lower: Listing<T>,
    key: impl Fn(&T) -> &K,
) -> Listing<T> {
    let more = limit > 0 && (upper.more || lower.more);
    // Beyond the end of a page that is not the last, nothing is known of its listing.
    let known = [&upper, &lower].into_iter().filter(|page| page.more);
    let end = known
        .filter_map(|page| page.items.last())
        .map(&key)
        .min()
        .cloned();
    let items = lower.items.into_iter().chain(upper.items);
    let merged: BTreeMap<K, T> = items.map(|item| (key(&item).clone(), item)).collect();
    let known = merged
        .into_iter()
        .take_while(|(key, _)| end.as_ref().is_none_or(|end| key <= end));
    let mut page = Listing::first(limit, known.map(|(_, item)| item));
    page.more |= more;
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_of_two_listings_are_those_of_their_union(
            upper: std::collections::BTreeSet<u8>,
            lower: std::collections::BTreeSet<u8>,
            after: Option<u8>,
            limit in 0_usize..5,
        ) {
            let beyond = |items: &std::collections::BTreeSet<u8>| -> Vec<u8> {
                items.iter().copied().filter(|item| after.is_none_or(|after| *item > after)).collect()
            };

            let page = merge(
                limit,
                Listing::first(limit, beyond(&upper)),
                Listing::first(limit, beyond(&lower)),
                |item| item,
            );

            let union = beyond(&upper.union(&lower).copied().collect());
            prop_assert_eq!(&page.items[..], &union[..limit.min(union.len())]);
            prop_assert_eq!(page.more, limit > 0 && union.len() > limit);
        }
    }

    #[test]
    fn of_two_items_with_one_key_the_upper_one_stays() {
        let page = merge(
            9,
            Listing::new(vec![("a", 1)], false),
            Listing::new(vec![("a", 2), ("b", 2)], false),
            |(key, _)| key,
        );

        assert_eq!(page.items, [("a", 1), ("b", 2)]);
    }

    #[test]
    fn nothing_behind_the_end_of_a_short_page_is_returned() {
        let page = merge(
            3,
            Listing::new(vec![1], true),
            Listing::new(vec![2, 3], false),
            |item| item,
        );

        assert_eq!((page.items, page.more), (vec![1], true));
    }
}
