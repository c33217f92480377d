//! [`UploadBounds`]: the maximum numbers of open upload sessions.

/// Maximum numbers of upload sessions that may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UploadBounds {
    /// Maximum number in one repository.
    pub(crate) in_repository: usize,
    /// Maximum number in all repositories together.
    pub(crate) in_all: usize,
    /// Maximum number for one uploader, in all repositories together.
    pub(crate) of_uploader: usize,
}

impl UploadBounds {
    /// No bounds.
    pub(crate) const NONE: Self = Self {
        in_repository: usize::MAX,
        in_all: usize::MAX,
        of_uploader: usize::MAX,
    };
}
