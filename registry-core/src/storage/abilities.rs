//! [`Abilities`]: promises that not every backend can make.

/// Promises of a backend beyond those that every backend makes.
///
/// They are constant while the storage is open. The contract suite of `registry-conformance` tests each declared
/// ability, and fails if it is missing. The service relies on no ability that is not declared.
///
/// ```
/// use registry_core::storage::Abilities;
///
/// // A bucket that several processes share.
/// let abilities = Abilities::none()
///     .with_durable(true)
///     .with_shared_sessions(true)
///     .with_redirects(true)
///     .with_min_chunk(Some(5 << 20));
/// assert!(!abilities.exclusive);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// No other process changes the content while this storage is open, so caches and counts of this process
    /// are exact.
    pub exclusive: bool,
    /// A move or deletion of a tag compares and changes it in one step, for every
    /// [`TagExpect`](super::TagExpect). Without it, an expectation other than
    /// [`Any`](super::TagExpect::Any) is refused as [`Unsupported`](super::StorageError::Unsupported); it is
    /// never ignored.
    pub conditional_tags: bool,
    /// Any handle, in any process, continues any upload session.
    pub shared_sessions: bool,
    /// Acknowledged content survives a power loss.
    pub durable: bool,
    /// Blobs may be answered with a [redirect](super::BlobBody::Redirect), if the caller allows it.
    pub redirects: bool,
    /// [`Storage::holders`](super::Storage::holders) lists repositories that a blob was recently pushed to.
    /// Without it, the list is not asked for.
    pub holders: bool,
    /// Smallest chunk that the backend stores efficiently, in bytes. Clients are told
    /// (`OCI-Chunk-Min-Length`). Smaller chunks are accepted as well.
    pub min_chunk: Option<u64>,
}

impl Abilities {
    /// Declares no ability.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            exclusive: false,
            conditional_tags: false,
            shared_sessions: false,
            durable: false,
            redirects: false,
            holders: false,
            min_chunk: None,
        }
    }

    /// Sets [`exclusive`](Self::exclusive).
    #[must_use]
    pub const fn with_exclusive(self, exclusive: bool) -> Self {
        Self { exclusive, ..self }
    }

    /// Sets [`conditional_tags`](Self::conditional_tags).
    #[must_use]
    pub const fn with_conditional_tags(self, conditional_tags: bool) -> Self {
        Self {
            conditional_tags,
            ..self
        }
    }

    /// Sets [`shared_sessions`](Self::shared_sessions).
    #[must_use]
    pub const fn with_shared_sessions(self, shared_sessions: bool) -> Self {
        Self {
            shared_sessions,
            ..self
        }
    }

    /// Sets [`durable`](Self::durable).
    #[must_use]
    pub const fn with_durable(self, durable: bool) -> Self {
        Self { durable, ..self }
    }

    /// Sets [`redirects`](Self::redirects).
    #[must_use]
    pub const fn with_redirects(self, redirects: bool) -> Self {
        Self { redirects, ..self }
    }

    /// Sets [`holders`](Self::holders).
    #[must_use]
    pub const fn with_holders(self, holders: bool) -> Self {
        Self { holders, ..self }
    }

    /// Sets [`min_chunk`](Self::min_chunk).
    #[must_use]
    pub const fn with_min_chunk(self, min_chunk: Option<u64>) -> Self {
        Self { min_chunk, ..self }
    }
}
