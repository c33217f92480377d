//! The items in quarantine: listing and removing them.

use crate::{
    error::{Context as _, FsError},
    names::{names_after, parsed},
    pauses::Point,
    store::Store,
};
use registry_core::{
    Algorithm, Digest,
    storage::{Listing, Page, QuarantineId, Quarantined},
};
use std::{fs, io};

impl Store {
    pub(super) fn quarantined(&self, page: &Page<'_, QuarantineId>) -> Result<Listing<Quarantined>, FsError> {
        let mut found = Vec::new();
        for algorithm in Algorithm::ALL {
            let directory = self.layout.quarantines(algorithm);
            let names = match names_after(&directory, None) {
                // Left there by somebody else.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
                names => names?,
            };
            for digest in parsed(directory, names, |name| Digest::from_hex(algorithm, name).ok()) {
                for number in self.numbers(&digest)? {
                    let id = QuarantineId::new(digest, number);
                    if page.after.is_none_or(|after| id > *after) {
                        found.extend(self.quarantined_item(id)?);
                    }
                    // One item beyond the page shows that there are more.
                    if found.len() > page.limit {
                        return Ok(Listing::first(page.limit, found));
                    }
                }
            }
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Returns the numbers of a digest's items, in order.
    fn numbers(&self, digest: &Digest) -> Result<Vec<u64>, FsError> {
        let item = self.layout.quarantine(digest, 0);
        let Some(directory) = item.directory.parent() else {
            return Ok(Vec::new());
        };
        let names = match names_after(directory, None) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
            names => names?,
        };
        let mut numbers: Vec<u64> = names.into_iter().filter_map(|name| name.0.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Describes an item; `None` if it holds nothing.
    fn quarantined_item(&self, id: QuarantineId) -> Result<Option<Quarantined>, FsError> {
        let item = self.layout.quarantine(&id.digest, id.number);
        let (bytes, why) = (item.bytes(), item.why());
        let Some(there) = fs::symlink_metadata(&bytes).if_there("read the metadata of", &bytes)? else {
            return Ok(None);
        };
        let size = if there.is_file() { there.len() } else { 0 };
        // The text is for people. Whatever is wrong with it, the item is there.
        let text = fs::read_to_string(&why).unwrap_or_default();
        let damage = text.lines().find_map(|line| line.strip_prefix("damage: "));
        let since = text
            .lines()
            .find_map(|line| crate::time::parse(line.strip_prefix("found: ")?));
        let place = item.directory.display().to_string();
        Ok(Some(
            Quarantined::new(id, size, place, damage.unwrap_or("unknown damage")).with_since(since),
        ))
    }

    pub(super) fn remove_quarantined(&self, id: &QuarantineId) -> Result<bool, FsError> {
        let item = self.layout.quarantine(&id.digest, id.number);
        // Under the lock of whoever adds an item of this digest, which then finds its directory.
        let _lock = self.blobs.lock(id.digest);
        let removed = fs::remove_dir_all(&item.directory).if_there("remove", &item.directory)?;
        self.pauses.reach(Point::QuarantinedItemRemoved);
        if removed.is_some()
            && let Some(above) = item.directory.parent()
        {
            // Other items of the digest keep it.
            let _ = fs::remove_dir(above);
        }
        Ok(removed.is_some())
    }
}
