//! Accounts for the bytes that a run frees.
//!
//! A run that nobody asked for stops if it would free mostly bytes that no deletion accounts for. A deletion with a record
//! is known by that. [`Accounts`] are written before a deletion without one, and before a record goes, so that the next
//! process knows them, too.

use super::{accounts::Accounts, collecting::lock};
use crate::{error::FsError, store::Store};
use registry_core::{
    Digest,
    storage::{Result, Victim},
};

impl Store {
    /// Records that a deletion accounts for the removal of these blobs. A deletion may be what makes space, and does not
    /// fail because of this.
    pub(crate) fn account_for(&self, blobs: &[Digest]) {
        if let Err(error) = self.add_accounts(blobs) {
            tracing::warn!(
                %error,
                "cannot note what was deleted; if that is most of the content, automatic collections may refuse to free it, \
                 and one has to be asked for"
            );
        }
    }

    /// Does the same for what a run removes without a record, and without what it names: that is a victim of its own.
    /// At once for all of them, because each note is a sync.
    pub(super) fn account_for_victims(&self, victims: &[Victim]) {
        let mut blobs = Vec::new();
        for victim in victims {
            if let Victim::Manifest(repository, digest) = victim
                && let Ok(Some(stored)) = self.revision(repository, digest)
            {
                blobs.push(*digest);
                self.add_named(repository, &stored, &mut blobs, &mut Vec::new());
            }
        }
        self.account_for(&blobs);
    }

    fn add_accounts(&self, blobs: &[Digest]) -> Result<()> {
        let mut known = lock(&self.collecting.accounts);
        let accounts = self.known_accounts(&mut known)?;
        let missing = accounts.missing(blobs, &self.digest_locks);
        self.reserve
            .write(|| Ok(Accounts::append(&missing, &self.layout, &self.disk)?))?;
        let number = self.collecting.release([]);
        accounts.add(blobs, &missing, number, &self.digest_locks);
        Ok(())
    }

    /// Returns, for each blob, true if a deletion accounts for its removal.
    pub(crate) fn released(&self, blobs: &[Digest]) -> Result<Vec<bool>> {
        self.release_closures()?;
        let mut known = lock(&self.collecting.accounts);
        let accounts = self.known_accounts(&mut known)?;
        let touches = lock(&self.collecting.touches);
        let keys = blobs.iter().map(|blob| self.digest_locks.key(blob));
        let released = keys.map(|key| {
            let is_accounted = |number| touches.is_untouched(key, number);
            touches.is_released(key) || accounts.number(key).is_some_and(is_accounted)
        });
        Ok(released.collect())
    }

    /// Drops the blobs that are gone. A failure is logged: the file only has more than it needs.
    pub(super) fn shorten_accounts(&self) {
        let mut known = lock(&self.collecting.accounts);
        let shortened = self
            .known_accounts(&mut known)
            .and_then(|accounts| accounts.shorten(&self.layout, &self.disk, &self.digest_locks));
        if let Err(error) = shortened {
            tracing::warn!(%error, "cannot remove what is gone from the list of what was deleted");
        }
    }

    /// Returns what the file contains. It is read once.
    fn known_accounts<'a>(&self, known: &'a mut Option<Accounts>) -> Result<&'a mut Accounts, FsError> {
        let accounts = match known.take() {
            Some(accounts) => accounts,
            None => Accounts::read(&self.layout, &self.digest_locks)?,
        };
        Ok(known.insert(accounts))
    }
}
