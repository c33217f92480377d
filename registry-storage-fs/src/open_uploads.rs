//! The open upload sessions are [known](crate::known_uploads), so that maintenance need not search for them each time.
//!
//! Sessions from before the start have [records](crate::session_records), which are read once. Sessions without a
//! record come from registry:2 and older versions. A [walk](crate::search) through the repositories finds them.
//! Maintenance requests both; opening a session waits for neither.
//!
//! The lock on the directory makes this process the only one that opens and ends sessions.

use crate::{
    FsStorage,
    error::{Context as _, FsError},
    known_uploads::Unread,
    layout::UploadPaths,
    names::read_dir,
    pauses::Point,
    store::Store,
    walk::{Whom, unreadable},
};
use registry_core::{
    RepositoryName, UploadId,
    storage::{Listing, Page, Result, Seen, UploadState},
};
use std::{collections::HashSet, fs, path::Path};

impl FsStorage {
    /// Finds the sessions from before the start, once. What cannot be read is tried again by the next call.
    pub(crate) async fn find_uploads(&self) -> Result<()> {
        let mut unread = self.store().open_uploads.unread.lock().await;
        if unread.records || !unread.directories.is_empty() {
            // Cloned, so that nothing is lost if this future is dropped.
            let Unread { records, directories } = unread.clone();
            *unread = self
                .apart(move |store| {
                    let unread = Unread {
                        records: records && !store.read_records_or_warn(),
                        directories: store.search(directories),
                    };
                    // Otherwise nothing was found in a directory that is away.
                    store.disk.require_owned()?;
                    Ok::<_, FsError>(unread)
                })
                .await??;
        }
        Ok(())
    }
}

impl Store {
    /// Opens a session with `open`, and makes it known before, so that maintenance does not miss it.
    pub(crate) fn recorded<T>(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        open: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        // While it is opened, its missing directory must not count as its end.
        let _opening = self.uploads.try_lock(id);
        self.open_uploads.known().add(repository, id);
        self.record(repository, &id);
        let opened = open();
        if opened.is_err() {
            self.forget_upload(repository, &id);
        }
        opened
    }

    /// Ends a session: removes its whole directory and its record. Returns false if there was none.
    pub(crate) fn end_upload(&self, repository: &RepositoryName, directory: &Path) -> Result<bool, FsError> {
        let started = UploadPaths::below(directory.to_path_buf()).started();
        let ended = self.disk.discard(directory, &started)?;
        if ended {
            self.pauses.reach(Point::UploadEnded);
            let id = directory.file_name().and_then(|name| name.to_str());
            if let Some(id) = id.and_then(|id| UploadId::parse(id).ok()) {
                self.forget_upload(repository, &id);
            }
            self.leave_uploads(repository);
        }
        Ok(ended)
    }

    /// Removes the directories that were created for a session that does not exist, unless they contain something
    /// else.
    pub(crate) fn leave_uploads(&self, repository: &RepositoryName) {
        let top = self.layout.repositories();
        self.disk.remove_empty(&self.layout.uploads(repository), &top);
    }

    /// Forgets a session that has ended or was not opened.
    fn forget_upload(&self, repository: &RepositoryName, id: &UploadId) {
        self.remove_record(id);
        self.open_uploads.known().end(repository, id);
    }

    /// Adds a session seen on disk, and writes a record of it, unless it is known.
    pub(crate) fn adopt(&self, repository: &RepositoryName, id: UploadId) {
        if !self.open_uploads.known().add(repository, id) {
            return;
        }
        self.record(repository, &id);
        let directory = self.layout.upload(repository, &id).directory;
        if !directory.try_exists().unwrap_or(true) {
            self.forget_upload(repository, &id);
        }
    }

    /// Lists the repositories with a session, whether or not they exist for readers.
    pub(crate) fn uploading(&self, page: &Page<'_, RepositoryName>) -> Result<Listing<Seen<RepositoryName>>> {
        let mut found = Vec::new();
        let mut after = page.after.cloned();
        // One item beyond the page shows that there are more.
        while found.len() <= page.limit {
            let next = self.open_uploads.known().next(after.as_ref()).cloned();
            let Some(repository) = next else {
                break;
            };
            match self.drop_ended(&repository) {
                Ok(true) => found.push(Seen::Whole(repository.clone())),
                Ok(false) => {}
                Err(error) => found.push(unreadable(repository.clone(), &error)),
            }
            after = Some(repository);
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Forgets the sessions of a repository that a crash, or another program while the storage was closed, has ended.
    /// Returns true if any session is left.
    fn drop_ended(&self, repository: &RepositoryName) -> Result<bool, FsError> {
        let there: HashSet<UploadId> = self.upload_ids(repository, None)?.collect();
        let missing: Vec<UploadId> = {
            let known = self.open_uploads.known();
            known
                .of(repository)
                .filter(|id| !there.contains(id))
                .copied()
                .collect()
        };
        for id in missing {
            self.drop_if_ended(repository, id)?;
        }
        Ok(self.open_uploads.known().has(repository))
    }

    /// Forgets a known session whose directory is gone.
    pub(crate) fn drop_if_ended(&self, repository: &RepositoryName, id: UploadId) -> Result<(), FsError> {
        let directory = self.layout.upload(repository, &id).directory;
        // No other operation is opening it.
        if let Some(_nobody) = self.uploads.try_lock(id)
            && fs::symlink_metadata(&directory)
                .if_there("read the metadata of", &directory)?
                .is_none()
        {
            // In another directory, every session is missing.
            self.disk.require_owned()?;
            self.forget_upload(repository, &id);
        }
        Ok(())
    }

    /// Lists the repositories with a session by a walk, without the known sessions.
    pub(crate) fn uploading_on_disk(
        &self,
        page: &Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.repositories_where(page, Whom::Inspection, &|path| {
            let uploads = path.join("_uploads");
            let Some(entries) = read_dir(&uploads).if_there("list", &uploads)? else {
                return Ok(false);
            };
            for entry in entries {
                let name = entry.at("list", &uploads)?.file_name();
                if name.to_str().is_some_and(|name| UploadId::parse(name).is_ok()) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// Ends a session that cannot continue, unless something uses it. Clients do not see it.
    pub(crate) fn end_if_spent(&self, repository: &RepositoryName, id: UploadId) -> Result<(), FsError> {
        let is_spent = || {
            let session = self.load(repository, &id)?;
            Ok::<_, FsError>(session.is_some_and(|session| session.is_spent()))
        };
        // Of a session that can continue, the lock is left to clients: without it they are refused.
        if is_spent()?
            && let Some(_lock) = self.uploads.try_lock(id)
            && is_spent()?
        {
            self.end_upload(repository, &self.layout.upload(repository, &id).directory)?;
        }
        Ok(())
    }

    /// Ends a session if its state is still as in `seen` and nothing uses it.
    pub(crate) fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool> {
        // Held until the session has ended.
        let Some(_lock) = self.uploads.try_lock(seen.id) else {
            return Ok(false);
        };
        match self.load(repository, &seen.id)? {
            // Also a session that is hidden from clients.
            Some(session) if session.state().version == seen.version => {
                Ok(self.end_upload(repository, session.directory())?)
            }
            _ => Ok(false),
        }
    }
}
