//! Reading listings, and comparing a page with a model.

use registry_core::{
    RepositoryName,
    storage::{Listing, Page, Storage},
};

pub(crate) const fn all<K>() -> Page<'static, K> {
    Page::first(10_000)
}

/// Returns every tag of a repository that exists.
pub(crate) async fn tags(storage: &dyn Storage, repository: &RepositoryName) -> Vec<String> {
    let listing = storage.tags(repository, all()).await.unwrap();
    texts(&listing.expect("the repository exists").items)
}

pub(crate) fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

/// Asserts that a page matches a sorted model of the whole listing.
pub(crate) fn assert_page<T: PartialEq + std::fmt::Debug>(listing: &Listing<T>, beyond: &[T], limit: usize) {
    let expected = &beyond[..limit.min(beyond.len())];
    assert_eq!(listing.items, expected, "a page of {limit}");
    let more = limit > 0 && beyond.len() > limit;
    assert_eq!(
        listing.more,
        more,
        "`more` of a page of {limit} with {} to come",
        beyond.len()
    );
}
