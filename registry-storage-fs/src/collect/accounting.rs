//! Accounts for the bytes that a run frees.
//!
//! A run that nobody asked for stops if it would free mostly bytes that no deletion accounts for. A deletion with a record
//! is known by that. [`Accounts`] are written before a deletion without one, and before a record goes, so that the next
//! process knows them, too.

use super::{
    accounts::{self, Accounts},
    collecting::{OpenRun, lock},
    touches::Idle,
};
use crate::{digest_locks::Key, error::FsError, moves::is_there, store::Store};
use registry_core::{
    Digest,
    storage::{Census, Result, Terms, Victim},
};
use std::collections::HashMap;

/// Number of blobs that are looked at while deletions do not wait.
const BATCH: usize = 4096;

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

    /// Drops the blobs whose removal need no longer be accounted for. A failure is logged: the file only has more than it
    /// needs.
    pub(super) fn shorten_accounts(&self, terms: &Terms, run: &OpenRun, seen: &Census) {
        let shortened = self.settled_accounts(terms, run, seen).and_then(|settled| {
            let mut known = lock(&self.collecting.accounts);
            let accounts = self.known_accounts(&mut known)?;
            Ok(accounts.shorten(&settled, &self.layout, &self.disk, &self.digest_locks)?)
        });
        if let Err(error) = shortened {
            tracing::warn!(%error, "cannot remove what is gone or in use from the list of what was deleted");
        }
    }

    /// Returns the blobs that can be dropped, with their numbers. Deletions go on meanwhile.
    fn settled_accounts(&self, terms: &Terms, run: &OpenRun, seen: &Census) -> Result<HashMap<Key, u64>> {
        let mut settled = HashMap::new();
        for batch in accounts::read(&self.layout)?.chunks(BATCH) {
            self.require_open()?;
            let keys = batch.iter().map(|blob| (blob, self.digest_locks.key(blob)));
            let numbered: Vec<_> = {
                let mut known = lock(&self.collecting.accounts);
                let accounts = self.known_accounts(&mut known)?;
                keys.filter_map(|(blob, key)| Some((blob, key, accounts.number(key)?)))
                    .collect()
            };
            for (blob, key, number) in numbered {
                let is_in_use = || self.was_left_in_use(key, number, terms, run, seen);
                if self.is_spent(blob, key, number)? || is_in_use() {
                    settled.insert(key, number);
                }
            }
        }
        Ok(settled)
    }

    /// Returns true if a blob is gone, or if a client was told of it since the deletion.
    fn is_spent(&self, blob: &Digest, key: Key, number: u64) -> Result<bool, FsError> {
        let is_untouched = lock(&self.collecting.touches).is_untouched(key, number);
        Ok(!is_untouched || !is_there(&self.layout.blob(blob))?)
    }

    /// Returns true if a run that has ended would have removed a blob if it were not in use.
    fn was_left_in_use(&self, key: Key, number: u64, terms: &Terms, run: &OpenRun, seen: &Census) -> bool {
        let was_due = || self.collecting.is_idle(&[key], terms, Some(run.began)) == Idle::Yes;
        seen.complete && number <= run.began && was_due()
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
