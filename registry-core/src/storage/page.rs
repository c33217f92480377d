//! Pages of listings: [`Page`] and [`Listing`].

/// One page of a listing: at most `limit` items that sort after `after`, in byte order of the whole name.
///
/// `after` need not exist. A page is found by seeking, so its cost does not grow with its position.
///
/// ```
/// use registry_core::storage::{MemoryStorage, Page, Storage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
///
/// let mut last = None;
/// loop {
///     let listing = storage.repositories(Page::first(100).after(last.as_ref())).await?;
///     for repository in &listing.items {
///         println!("{repository}");
///     }
///     if !listing.more {
///         break;
///     }
///     last = listing.items.last().cloned();
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Page<'a, K> {
    /// Exclusive lower bound.
    pub after: Option<&'a K>,
    /// Maximum number of items. With 0 the page is empty, and [`more`](Listing::more) is false.
    pub limit: usize,
}

impl<'a, K> Page<'a, K> {
    /// Requests the first `limit` items.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }

    /// Requests only items that sort after `after`, if there is one.
    #[must_use]
    pub const fn after(self, after: Option<&'a K>) -> Self {
        Self { after, ..self }
    }
}

/// The items of one page.
///
/// ```
/// use registry_core::{Tag, storage::Listing};
///
/// // A backend has the tags in order, from the lower bound of the page on.
/// let tags = ["v1", "v2", "v3"].into_iter().map(Tag::parse).collect::<Result<Vec<_>, _>>()?;
/// let page = Listing::first(2, tags);
/// assert_eq!((page.items.len(), page.more), (2, true));
/// # Ok::<(), registry_core::reference::InvalidTag>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listing<T> {
    /// Items, in byte order.
    pub items: Vec<T>,
    /// True if at least one item sorts after the last one of this page.
    pub more: bool,
}

impl<T> Listing<T> {
    /// Describes a page of `items`, which are in order. `more` is true if at least one item sorts after them.
    #[must_use]
    pub const fn new(items: Vec<T>, more: bool) -> Self {
        Self { items, more }
    }

    /// Takes the first `limit` of `items`, which are in order and begin after the page's lower bound.
    pub fn first(limit: usize, items: impl IntoIterator<Item = T>) -> Self {
        let mut items = items.into_iter();
        let page: Vec<T> = items.by_ref().take(limit).collect();
        Self {
            more: limit > 0 && items.next().is_some(),
            items: page,
        }
    }
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            more: false,
        }
    }
}
