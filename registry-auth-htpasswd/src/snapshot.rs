//! [`Snapshot`]: the users who could log in at one time, for hosts that compare other files with them.

use crate::table::Table;
use std::{fmt, sync::Arc};

/// The users of one reading of the file.
///
/// ```
/// use registry_auth_htpasswd::Htpasswd;
///
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("users");
/// std::fs::write(&path, "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nbob:plain text\n")?;
///
/// let snapshot = Htpasswd::open(path)?.snapshot();
/// assert!(snapshot.contains("ann"));
/// assert!(!snapshot.contains("bob"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    table: Arc<Table>,
}

impl Snapshot {
    pub(crate) const fn new(table: Arc<Table>) -> Self {
        Self { table }
    }

    /// Returns true if a user of that name can log in. A user whose line is set aside cannot.
    #[must_use]
    pub fn contains(&self, user: &str) -> bool {
        self.table.entry(user).is_some()
    }

    /// Returns true if both are of the same reading. False if the file was read again in between and had changed.
    #[must_use]
    pub fn is_same_reading(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.table, &other.table)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("users", &self.table.len())
            .finish_non_exhaustive()
    }
}
