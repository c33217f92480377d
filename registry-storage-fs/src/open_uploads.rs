//! [`OpenUploads`]: which upload sessions are open, so that opening one need not look for them.
//!
//! Those of before have [records](crate::session_records), which are read once. Sessions without one, which registry:2 and
//! older versions leave, are found by a [walk](crate::search) through the repositories: maintenance asks for it, and nobody
//! who opens a session waits for it. Until then they do not count.
//!
//! The lock on the directory makes this process the only one that opens and ends sessions.

use crate::{
    FsStorage,
    error::{Context as _, FsError},
    layout::{Layout, UploadPaths},
    listing::{Whom, read_dir},
    open::Store,
};
use registry_core::{
    RepositoryName, UploadId,
    storage::{Listing, NewUpload, Page, Result, StorageError, UploadState, Uploader},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    fs,
    ops::Bound::{Excluded, Unbounded},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

/// What is known of the sessions of a directory.
#[derive(Debug)]
pub(crate) struct OpenUploads {
    known: Mutex<Known>,
    /// Set when the records have been read.
    recorded: OnceCell<()>,
    /// The directories among the repositories in which sessions without a record may lie, with all below them.
    unsearched: AsyncMutex<Vec<PathBuf>>,
}

/// Repositories without an open session are not in it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    open: BTreeMap<RepositoryName, HashMap<UploadId, Option<Uploader>>>,
    all: usize,
    /// Of whom something is known; of the sessions of before, nothing is.
    by_uploader: HashMap<Uploader, usize>,
}

impl Known {
    fn begin(&mut self, repository: &RepositoryName, id: UploadId, new: &NewUpload) -> Result<()> {
        let own = new.uploader.as_ref().and_then(|who| self.by_uploader.get(who));
        let own = own.copied().unwrap_or(0);
        let here = self.open.get(repository).map_or(0, HashMap::len);
        new.bounds.admit(here, self.all, own)?;
        self.add(repository, id, new.uploader.clone());
        Ok(())
    }

    /// False if it was known.
    pub(crate) fn add(
        &mut self,
        repository: &RepositoryName,
        id: UploadId,
        uploader: Option<Uploader>,
    ) -> bool {
        let sessions = self.open.entry(repository.clone()).or_default();
        let Entry::Vacant(session) = sessions.entry(id) else {
            return false;
        };
        if let Some(who) = &uploader {
            *self.by_uploader.entry(who.clone()).or_default() += 1;
        }
        session.insert(uploader);
        self.all += 1;
        true
    }

    #[cfg(test)]
    pub(crate) const fn all(&self) -> usize {
        self.all
    }

    /// Does nothing if it is not known.
    pub(crate) fn end(&mut self, repository: &RepositoryName, id: &UploadId) {
        let Some(sessions) = self.open.get_mut(repository) else {
            return;
        };
        let Some(uploader) = sessions.remove(id) else {
            return;
        };
        if sessions.is_empty() {
            self.open.remove(repository);
        }
        self.all -= 1;
        if let Some(who) = uploader
            && let Entry::Occupied(mut own) = self.by_uploader.entry(who)
        {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

impl OpenUploads {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            known: Mutex::default(),
            recorded: OnceCell::new(),
            unsearched: AsyncMutex::new(vec![layout.repositories()]),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FsStorage {
    /// How many upload sessions are open, in all repositories, as far as is known: those that another program left count
    /// from when maintenance has found them. The first call lists the records of those of before and blocks, unless a
    /// session was opened; from then on they are counted as they come and go. Where the storage was opened for reading
    /// alone, each call counts those that have a record.
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
        store.open_uploads.known().all
    }

    /// Makes the sessions of before count, once. Whoever waits for it holds no thread, and what is read is read on another
    /// than those that serve.
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
    StorageError::internal("the records of upload sessions cannot be listed")
}

impl Store {
    /// Opens a session with `open` if the bounds allow one more. Counted first: of two that come at once, only one
    /// takes the last place.
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

    /// Ends a session: its directory is gone, whole, and counts no longer. False if it was not there.
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

    /// Removes the directories that were made for a session that is not there, as far as they hold nothing else. What a
    /// repository has been given since keeps them.
    pub(crate) fn leave_uploads(&self, repository: &RepositoryName) {
        let top = self.layout.repositories();
        self.disk.remove_empty(&self.layout.uploads(repository), &top);
    }

    /// After the session has gone, or if it was not opened at all.
    fn forget_upload(&self, repository: &RepositoryName, id: &UploadId) {
        self.remove_record(id);
        self.open_uploads.known().end(repository, id);
    }

    /// A session was seen on disk. If nobody knows of it, it counts from now on and has a record.
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

    /// The repositories that have a session, whether or not they exist for readers.
    pub(crate) fn uploading(&self, page: &Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        let mut found = Vec::new();
        let mut after = page.after.cloned();
        // One more than the page says that there is more.
        while found.len() <= page.limit {
            let next = {
                let known = self.open_uploads.known();
                let bounds = (after.as_ref().map_or(Unbounded, Excluded), Unbounded);
                let next = known.open.range::<RepositoryName, _>(bounds).next();
                next.map(|(repository, _)| repository.clone())
            };
            let Some(repository) = next else {
                break;
            };
            match self.drop_ended(&repository) {
                Ok(true) => found.push(repository.clone()),
                Ok(false) => {}
                Err(error) => self
                    .remarks
                    .unreadable(&error, "the upload sessions in it are left out of the list"),
            }
            after = Some(repository);
        }
        Ok(Listing::first(page.limit, found))
    }

    /// Forgets those sessions of a repository that a crash, or another program while we were closed, has ended. Whether any
    /// is left.
    fn drop_ended(&self, repository: &RepositoryName) -> Result<bool, FsError> {
        let there: HashSet<UploadId> = self.upload_ids(repository, None)?.collect();
        let missing: Vec<UploadId> = {
            let known = self.open_uploads.known();
            let sessions = known.open.get(repository).into_iter().flatten();
            let missing = sessions.filter(|(id, _)| !there.contains(id));
            missing.map(|(id, _)| *id).collect()
        };
        for id in missing {
            self.drop_if_ended(repository, id)?;
        }
        Ok(self.open_uploads.known().open.contains_key(repository))
    }

    /// Forgets a session that is known and not there.
    pub(crate) fn drop_if_ended(&self, repository: &RepositoryName, id: UploadId) -> Result<(), FsError> {
        let directory = self.layout.upload(repository, &id).directory;
        // Nobody is opening it, and it has not just been.
        if let Some(_nobody) = self.uploads.try_lock(id)
            && fs::symlink_metadata(&directory)
                .if_there("look at", &directory)?
                .is_none()
        {
            self.forget_upload(repository, &id);
        }
        Ok(())
    }

    /// The same without any knowledge, by a walk.
    pub(crate) fn uploading_on_disk(
        &self,
        page: &Page<'_, RepositoryName>,
    ) -> Result<Listing<RepositoryName>> {
        self.repositories_where(page, Whom::Maintenance, &|path| {
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

    /// Ends a session that stands where `seen` says and that nobody works on.
    pub(crate) fn expire_upload(&self, repository: &RepositoryName, seen: &UploadState) -> Result<bool> {
        if !self.is_owned() {
            return Err(StorageError::ReadOnly);
        }
        match self.claim(repository, seen) {
            // The claim is held until the session is gone.
            Ok(claimed) => Ok(self.end_upload(repository, claimed.session.directory())?),
            Err(StorageError::UploadUnknown | StorageError::UploadConflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
