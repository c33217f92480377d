//! [`Deletion`]: the originator and the kind of a deletion.

use std::sync::Arc;

/// Originator and kind of a deletion.
///
/// A backend that keeps a history or a trash records both. Any other backend may ignore them: every deletion
/// is effective at once.
///
/// ```
/// use registry_core::storage::Deletion;
///
/// let undoable = Deletion::new().by(Some("ann".into()));
/// let final_one = undoable.clone().permanently();
/// assert!(final_one.permanent && !undoable.permanent);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deletion {
    /// Name of the user who deletes. `None` for the host itself and for anonymous clients.
    pub by: Option<Arc<str>>,
    /// True if the deletion must not be undone: the content goes into no trash.
    pub permanent: bool,
}

impl Deletion {
    /// Describes a deletion by the host, which a backend with a trash can undo.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            by: None,
            permanent: false,
        }
    }

    /// Sets the name of the user who deletes.
    #[must_use]
    pub fn by(self, user: Option<Arc<str>>) -> Self {
        Self { by: user, ..self }
    }

    /// Makes the deletion final, so that it cannot be undone.
    #[must_use]
    pub fn permanently(self) -> Self {
        Self {
            permanent: true,
            ..self
        }
    }
}
