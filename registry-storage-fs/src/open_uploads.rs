//! The open upload sessions are [known](crate::known_uploads), so that opening one need not search for the others.
//!
//! Sessions from before the start have [records](crate::session_records), which are read once. Sessions without a
//! record come from registry:2 and older versions. A [walk](crate::search) through the repositories finds them:
//! maintenance requests it, and opening a session does not wait for it. Until then they do not count.
//!
//! The lock on the directory makes this process the only one that opens and ends sessions.

use crate::{
    FsStorage,
    error::{Context as _, FsError},
    layout::UploadPaths,
    names::read_dir,
    store::Store,
    walk::{Whom, unreadable},
};
use registry_core::{
    RepositoryName, UploadId,
    storage::{Listing, NewUpload, Page, Result, Seen, StorageError, UploadState},
};
use std::{collections::HashSet, fs, path::Path};

impl FsStorage {
    /// Returns the number of open upload sessions in all repositories, as far as they are known. Sessions of another
    /// program count once maintenance has found them. The first call blocks while it lists the records of sessions
    /// from before the start, unless a session was opened meanwhile. If the storage was opened read-only, each call
    /// counts the sessions with a record.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        let store = self.store();
        if !store.is_owned() {
            return store.count_records();
        }
        if !store.open_uploads.recorded.initialized() && store.read_records_or_warn() {
            // Unless somebody else reads them now.
            let _ = store.open_uploads.recorded.set(());
        }
        store.open_uploads.known().all()
    }

    /// Counts the sessions from before the start, once. Waiting for it holds no thread, and the records are read on a
    /// thread of its own.
    pub(crate) async fn count_uploads(&self) {
        let counting = self.store().open_uploads.recorded.get_or_try_init(async || {
            let read = self.apart(Store::read_records_or_warn).await;
            read.and_then(|is_read| if is_read { Ok(()) } else { Err(unread()) })
        });
        // Otherwise the next one tries again. It must not stand in the way of a push.
        let _ = counting.await;
    }

    /// Finds the sessions that have no record, once. Directories that cannot be read are tried again by the next call.
    pub(crate) async fn search_uploads(&self) -> Result<()> {
        let mut unsearched = self.store().open_uploads.unsearched.lock().await;
        if !unsearched.is_empty() {
            // It stays as it is if this future is dropped.
            let directories = unsearched.clone();
            *unsearched = self.apart(move |store| store.search(directories)).await?;
        }
        Ok(())
    }
}

fn unread() -> StorageError {
    StorageError::internal("cannot list the records of upload sessions")
}

impl Store {
    /// Opens a session with `open` if the bounds allow one more. It is counted first, so that of two concurrent
    /// requests only one takes the last slot.
    pub(crate) fn counted<T>(
        &self,
        repository: &RepositoryName,
        id: UploadId,
        new: &NewUpload,
        open: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        // Until it is there nobody may take it for one that is gone.
        let _opening = self.uploads.try_lock(id);
        self.open_uploads.known().begin(repository, id, new)?;
        self.record(repository, &id);
        let opened = open();
        if opened.is_err() {
            self.forget_upload(repository, &id);
        }
        opened
    }

    /// Ends a session: removes its whole directory, and counts it no longer. Returns false if there was none.
    pub(crate) fn end_upload(&self, repository: &RepositoryName, directory: &Path) -> Result<bool, FsError> {
        let started = UploadPaths::below(directory.to_path_buf()).started();
        let ended = self.disk.discard(directory, &started)?;
        if ended {
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

    /// Counts a session seen on disk, and writes a record of it, unless it is known.
    pub(crate) fn adopt(&self, repository: &RepositoryName, id: UploadId) {
        if !self.open_uploads.known().add(repository, id, None) {
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
        // One more than the page says that there is more.
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
        // Nobody is opening it, and it has not just been.
        if let Some(_nobody) = self.uploads.try_lock(id)
            && fs::symlink_metadata(&directory)
                .if_there("read the metadata of", &directory)?
                .is_none()
        {
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

    /// Ends a session if its state is still as in `seen` and nothing uses it.
    pub(crate) fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool> {
        // Held until the session is gone.
        let Some(_lock) = self.uploads.try_lock(seen.id) else {
            return Ok(false);
        };
        match self.load(repository, &seen.id)? {
            // Also one that clients are not shown any more.
            Some(session) if session.state().version == seen.version => {
                Ok(self.end_upload(repository, session.directory())?)
            }
            _ => Ok(false),
        }
    }
}
