//! [`OpenUploads`]: how many upload sessions are open, so that opening one need not count them.
//!
//! One walk, when the first session is opened, finds what an earlier process left; from then on every session is
//! counted as it comes and goes. The lock on the directory makes this process the only one that opens and ends them.

use crate::{
    FsStorage,
    error::{Context as _, FsError},
    listing::Whom,
    open::Store,
};
use registry_core::{
    RepositoryName, UploadId,
    storage::{Listing, NewUpload, Page, Result, StorageError, UploadState, Uploader},
};
use std::{
    collections::{HashMap, hash_map::Entry},
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

/// Nothing until somebody opens or ends a session.
#[derive(Debug, Default)]
pub(crate) struct OpenUploads(OnceLock<Mutex<Counts>>);

/// Repositories without an open session are not in it.
#[derive(Debug, Default)]
struct Counts {
    by_repository: HashMap<RepositoryName, usize>,
    all: usize,
    /// Of whom something is known, and which sessions are theirs; of those of before, nothing is.
    by_uploader: HashMap<Uploader, usize>,
    uploaders: HashMap<UploadId, Uploader>,
}

impl Counts {
    fn of(&self, repository: &RepositoryName) -> usize {
        self.by_repository.get(repository).copied().unwrap_or(0)
    }

    fn more(&mut self, repository: &RepositoryName, count: usize) {
        if count > 0 {
            *self.by_repository.entry(repository.clone()).or_default() += count;
            self.all += count;
        }
    }

    fn begin(&mut self, repository: &RepositoryName, id: UploadId, new: &NewUpload) -> Result<()> {
        let own = new.uploader.as_ref().and_then(|who| self.by_uploader.get(who));
        let own = own.copied().unwrap_or(0);
        new.bounds.admit(self.of(repository), self.all, own)?;
        self.more(repository, 1);
        if let Some(who) = &new.uploader {
            *self.by_uploader.entry(who.clone()).or_default() += 1;
            self.uploaders.insert(id, who.clone());
        }
        Ok(())
    }

    fn end(&mut self, repository: &RepositoryName, id: Option<&UploadId>) {
        if let Some(who) = id.and_then(|id| self.uploaders.remove(id))
            && let Entry::Occupied(mut own) = self.by_uploader.entry(who)
        {
            *own.get_mut() -= 1;
            if *own.get() == 0 {
                own.remove();
            }
        }
        self.less(repository);
    }

    fn less(&mut self, repository: &RepositoryName) {
        let Some(count) = self.by_repository.get_mut(repository) else {
            return;
        };
        *count -= 1;
        self.all -= 1;
        if *count == 0 {
            self.by_repository.remove(repository);
        }
    }
}

impl FsStorage {
    /// How many upload sessions are open, in all repositories. The first call walks over them and blocks, unless a
    /// session was opened or ended before; from then on they are counted as they come and go.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.store().upload_counts().all
    }
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
        self.upload_counts().begin(repository, id, new)?;
        let opened = open();
        if opened.is_err() {
            self.upload_counts().end(repository, Some(&id));
        }
        opened
    }

    /// Ends a session: its directory is gone, whole, and counts no longer. False if it was not there.
    pub(crate) fn end_upload(&self, repository: &RepositoryName, directory: &Path) -> Result<bool, FsError> {
        // It is counted before it goes, or else the walk might miss it and it would be taken off twice.
        drop(self.upload_counts());
        let ended = self.disk.discard(directory)?;
        if ended {
            let id = directory.file_name().and_then(|name| name.to_str());
            let id = id.and_then(|id| UploadId::parse(id).ok());
            self.upload_counts().end(repository, id.as_ref());
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

    fn upload_counts(&self) -> MutexGuard<'_, Counts> {
        let counts = self
            .open_uploads
            .0
            .get_or_init(|| Mutex::new(self.count_uploads()));
        counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cannot be read is not counted: it must not stand in the way of every push.
    fn count_uploads(&self) -> Counts {
        let everything = Page {
            after: None,
            limit: usize::MAX,
        };
        let mut counts = Counts::default();
        let uploading = self.uploading(&everything).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot count the open upload sessions; those of before do not count");
            Listing::default()
        });
        for repository in uploading.items {
            match self.upload_ids(&repository, None) {
                Ok(sessions) => counts.more(&repository, sessions.count()),
                Err(error) => tracing::warn!(%repository, %error, "cannot count the open upload sessions"),
            }
        }
        counts
    }

    /// The repositories that have a session, whether or not they exist for readers.
    pub(crate) fn uploading(&self, page: &Page<'_, RepositoryName>) -> Result<Listing<RepositoryName>> {
        self.repositories_where(page, Whom::Maintenance, &|path| {
            let uploads = path.join("_uploads");
            let Some(entries) = fs::read_dir(&uploads).if_there("list", &uploads)? else {
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
