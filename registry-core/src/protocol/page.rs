//! [`PageQuery`]: `n` and `last`, the paging of every listing.

/// Which page of a listing is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageQuery<K> {
    /// How many items at most; `None` leaves it to the registry.
    pub n: Option<usize>,
    /// Only what sorts after it. It need not exist.
    pub last: Option<K>,
}

impl<K> Default for PageQuery<K> {
    fn default() -> Self {
        Self { n: None, last: None }
    }
}

impl<K> PageQuery<K> {
    /// At most `n` items.
    #[must_use]
    pub fn first(n: usize) -> Self {
        Self {
            n: Some(n),
            last: None,
        }
    }

    /// Only what sorts after `last`.
    #[must_use]
    pub fn after(self, last: K) -> Self {
        Self {
            last: Some(last),
            ..self
        }
    }
}
