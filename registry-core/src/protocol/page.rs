//! [`PageQuery`]: `n` and `last`, the pagination of every listing.

/// Requested page of a listing.
///
/// ```
/// use registry_core::{Tag, protocol::PageQuery};
///
/// // Let the registry choose the size of the first page.
/// let first = PageQuery::<Tag>::default();
/// assert_eq!((first.n, first.last), (None, None));
///
/// // Continue after the last tag of the previous page.
/// let next = PageQuery::first(50).after(Tag::parse("v1.9")?);
/// assert_eq!(next.n, Some(50));
/// # Ok::<(), registry_core::reference::InvalidTag>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PageQuery<K> {
    /// Maximum number of items; `None` leaves it to the registry.
    pub n: Option<usize>,
    /// Exclusive lower bound of the items. It need not exist.
    pub last: Option<K>,
}

impl<K> Default for PageQuery<K> {
    fn default() -> Self {
        Self { n: None, last: None }
    }
}

impl<K> PageQuery<K> {
    /// Requests at most `n` items.
    #[must_use]
    pub fn first(n: usize) -> Self {
        Self {
            n: Some(n),
            last: None,
        }
    }

    /// Requests only items that sort after `last`.
    #[must_use]
    pub fn after(self, last: K) -> Self {
        Self {
            last: Some(last),
            ..self
        }
    }
}
