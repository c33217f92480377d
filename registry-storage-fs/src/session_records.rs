//! `_sessions/<id>`: the repository of an open upload session. Listing this one directory finds the sessions of an
//! earlier process.
//!
//! The records are derived. A record is written before its session appears and removed after the session has gone. A
//! crash can therefore leave an extra record, which is dropped when it is seen. Neither records nor sessions are
//! synced.

use crate::{
    error::{Context as _, FsError},
    names::read_dir,
    pauses::Point,
    store::Store,
    stored_file,
};
use registry_core::{RepositoryName, UploadId};
use std::{fs, io::ErrorKind};

impl Store {
    /// Records the repository of a session. Not synced, like the session.
    pub(crate) fn record(&self, repository: &RepositoryName, id: &UploadId) {
        // A preview finds sessions and changes nothing.
        if !self.is_owned() {
            return;
        }
        if let Err(error) = self.write_record(repository, id) {
            tracing::warn!(%repository, %id, %error, "cannot record an upload session; after a restart a walk through the repositories finds it");
        }
    }

    fn write_record(&self, repository: &RepositoryName, id: &UploadId) -> Result<(), FsError> {
        let (path, content) = (self.layout.session_record(id), repository.as_str().as_bytes());
        match self.disk.replace(&path, content) {
            Err(error) if error.is_absence() => {
                let directory = self.layout.session_records();
                fs::create_dir_all(&directory).at("create", &directory)?;
                self.disk.replace(&path, content)
            }
            written => written,
        }
    }

    pub(crate) fn remove_record(&self, id: &UploadId) {
        if !self.is_owned() {
            return;
        }
        let path = self.layout.session_record(id);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove the record of an upload session");
        }
    }

    /// Reads the records; returns true if that succeeded.
    pub(crate) fn read_records_or_warn(&self) -> bool {
        let read = self.read_records();
        if let Err(error) = &read {
            tracing::warn!(%error, "cannot read the records of upload sessions; a walk through the repositories finds the sessions");
        }
        read.is_ok()
    }

    /// Adds the sessions that have a record.
    fn read_records(&self) -> Result<(), FsError> {
        let directory = self.layout.session_records();
        let entries = read_dir(&directory).if_there("list", &directory)?;
        self.pauses.reach(Point::SessionRecordsListed);
        for entry in entries.into_iter().flatten() {
            let name = entry.at("list", &directory)?.file_name();
            if let Some(id) = name.to_str().and_then(|name| UploadId::parse(name).ok()) {
                self.read_record(&id);
            }
        }
        Ok(())
    }

    fn read_record(&self, id: &UploadId) {
        let path = self.layout.session_record(id);
        let Ok(content) = stored_file::read(&path) else {
            // If the session exists, the walk finds it.
            return;
        };
        let repository = std::str::from_utf8(&content).ok();
        let Some(repository) = repository.and_then(|name| RepositoryName::parse(name).ok()) else {
            // A power loss can leave a record without its content.
            self.remove_record(id);
            return;
        };
        let is_new = self.open_uploads.known().add(&repository, *id);
        if is_new && let Err(error) = self.drop_if_ended(&repository, *id) {
            self.reported
                .unreadable(&error, "the upload session there counts as open");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FsOptions, FsStorage, faults::fail, seams::Listed};
    use registry_core::{
        Algorithm, Storage as _, StorageWrite as _,
        maintenance::expire_uploads,
        storage::{NewUpload, Page, Seen},
    };
    use rustix::{
        fs::{CWD, FileType, Mode, mknodat},
        io::Errno,
    };
    use std::{
        sync::mpsc,
        time::{Duration, SystemTime},
    };
    use tempfile::TempDir;
    use tokio::{runtime::Builder, sync::oneshot};

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    async fn open(storage: &FsStorage, repository: &str) -> UploadId {
        let new = NewUpload::hashed_by(Algorithm::Sha256);
        storage.open_upload(&name(repository), new).await.unwrap().id
    }

    async fn uploading(storage: &FsStorage) -> Vec<String> {
        let page = Page::first(100);
        let inspect = storage.inspect().unwrap();
        let listed = inspect.uploading(page).await.unwrap();
        listed.items.iter().map(|seen| seen.key().to_string()).collect()
    }

    /// Lists the open sessions of all repositories.
    async fn sessions(storage: &FsStorage) -> Vec<UploadId> {
        let mut found = Vec::new();
        for repository in uploading(storage).await {
            let page = Page::first(100);
            let inspect = storage.inspect().unwrap();
            let listed = inspect.uploads(&name(&repository), page).await.unwrap();
            let whole = listed.items.into_iter().filter_map(Seen::whole);
            found.extend(whole.map(|session| session.id));
        }
        found
    }

    /// Opens the storage again, as another process would.
    async fn reopened(root: &TempDir, storage: FsStorage) -> FsStorage {
        drop(storage);
        loop {
            match FsStorage::open(root.path()) {
                Ok(storage) => return storage,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    /// Creates the directories of `count` repositories, and nothing else.
    fn make_repositories(storage: &FsStorage, count: usize) {
        for number in 0..count {
            let name = name(&format!("group-{}/{number}", number % 7));
            for directory in [
                storage.store().layout.tags(&name),
                storage.store().layout.all_layers(&name),
            ] {
                fs::create_dir_all(directory).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn opening_a_session_lists_nothing() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        make_repositories(&storage, 100);
        open(&storage, "group-1/before").await;
        let storage = reopened(&root, storage).await;

        let listed = Listed::below(root.path());
        open(&storage, "group-1/1").await;
        open(&storage, "group-1/1").await;

        assert!(listed.take().is_empty());
        assert_eq!(sessions(&storage).await.len(), 3);
    }

    #[tokio::test]
    async fn the_repositories_are_walked_once_and_by_maintenance() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        make_repositories(&storage, 100);
        let id = open(&storage, "group-1/before").await;
        let storage = reopened(&root, storage).await;

        let listed = Listed::below(root.path());
        assert_eq!(uploading(&storage).await, ["group-1/before"]);
        assert!(listed.take().len() > 100);
        assert_eq!(uploading(&storage).await, ["group-1/before"]);
        let uploads = storage.store().layout.uploads(&name("group-1/before"));
        assert_eq!(listed.take(), [uploads]);

        assert!(storage.cancel(&name("group-1/before"), &id).await.unwrap());
        assert_eq!(uploading(&storage).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_session_without_a_record_is_found_and_gets_one() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (first, second) = (open(&storage, "a").await, open(&storage, "b/c").await);
        // As registry:2 leaves them.
        fs::remove_dir_all(storage.store().layout.session_records()).unwrap();
        let storage = reopened(&root, storage).await;

        let third = open(&storage, "new").await;
        assert_eq!(sessions(&storage).await, [first, second, third]);

        let records = [first, second, third].map(|id| storage.store().layout.session_record(&id));
        assert!(records.iter().all(|record| record.exists()));
        let expired = expire_uploads(&storage, SystemTime::now() + Duration::from_secs(3600));
        assert_eq!(expired.await.unwrap().expired, 3);
        assert!(!records.iter().any(|record| record.exists()));
        assert_eq!(storage.store().open_uploads.known().all(), 0);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_looked_at_again() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        open(&storage, "recorded").await;
        let other = open(&storage, "a/other").await;
        fs::remove_file(storage.store().layout.session_record(&other)).unwrap();
        let storage = reopened(&root, storage).await;
        let layout = &storage.store().layout;

        open(&storage, "new").await;

        for unreadable in [layout.repositories().join("a"), layout.uploads(&name("a/other"))] {
            let _faults = [&unreadable, &layout.session_records()].map(|path| fail(path, Errno::IO));
            assert_eq!(uploading(&storage).await, ["new", "recorded"]);
        }
        assert_eq!(uploading(&storage).await, ["a/other", "new", "recorded"]);
    }

    #[tokio::test]
    async fn a_session_that_goes_while_it_is_found_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let id = UploadId::from_random([1; 16]);

        storage.store().adopt(&name("a"), id);

        assert_eq!(storage.store().open_uploads.known().all(), 0);
        assert!(!storage.store().layout.session_record(&id).exists());
    }

    #[tokio::test]
    async fn a_record_without_a_session_is_dropped_when_it_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (crashed, torn, open_one) = (
            open(&storage, "a/b").await,
            open(&storage, "b").await,
            open(&storage, "a/b").await,
        );
        let layout = &storage.store().layout;
        fs::remove_dir_all(layout.upload(&name("a/b"), &crashed).directory).unwrap();
        fs::remove_dir_all(layout.uploads(&name("b"))).unwrap();
        fs::write(layout.session_record(&torn), "").unwrap();
        let storage = reopened(&root, storage).await;

        // A version without records leaves one of each session that it ends.
        assert_eq!(sessions(&storage).await, [open_one]);

        let layout = &storage.store().layout;
        assert_eq!(fs::read_dir(layout.session_records()).unwrap().count(), 1);
        assert!(layout.session_record(&open_one).exists());
    }

    #[tokio::test]
    async fn for_reading_alone_every_session_is_listed_and_nothing_is_written() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (recorded, other) = (open(&storage, "a").await, open(&storage, "b").await);
        let layout = &storage.store().layout;
        fs::remove_file(layout.session_record(&other)).unwrap();
        fs::remove_dir_all(layout.upload(&name("a"), &recorded).directory).unwrap();

        let reading = FsOptions::default().read_only().open(root.path()).unwrap();
        assert_eq!(uploading(&reading).await, ["b"]);

        assert!(layout.session_record(&recorded).exists());
        assert!(!layout.session_record(&other).exists());
        assert!(layout.uploads(&name("a")).exists());
    }

    #[tokio::test]
    async fn what_older_versions_left_empty_is_removed_and_a_repository_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        make_repositories(&storage, 1);
        let repositories = storage.store().layout.repositories();
        for left in [
            "x/y/z/_uploads",
            "x/y/_uploads",
            "x/empty",
            "group-0/0/_uploads",
            "group-0/0/below/_uploads",
        ] {
            fs::create_dir_all(repositories.join(left)).unwrap();
        }
        fs::create_dir_all(repositories.join("stranger/_uploads")).unwrap();
        fs::write(repositories.join("stranger/file"), "").unwrap();
        let storage = reopened(&root, storage).await;

        assert_eq!(uploading(&storage).await, [""; 0]);

        assert!(!repositories.join("x").exists());
        assert!(!repositories.join("group-0/0/below").exists());
        for kept in ["group-0/0/_uploads", "group-0/0/_layers", "stranger/_uploads"] {
            assert!(repositories.join(kept).exists(), "{kept}");
        }
    }

    /// Otherwise a slow disk at the start would occupy every thread, and requests would wait.
    #[test]
    fn while_the_records_are_read_uploads_are_opened_and_no_thread_waits() {
        let root = tempfile::tempdir().unwrap();
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let storage = FsStorage::open(root.path()).unwrap();
            open(&storage, "a").await;
            let storage = reopened(&root, storage).await;
            let (begun, is_begun) = oneshot::channel();
            let (go_on, goes_on) = mpsc::channel::<()>();
            storage.store().pauses.at(Point::SessionRecordsListed, move || {
                begun.send(()).unwrap();
                goes_on.recv().unwrap();
            });
            let listing: Vec<_> = (0..8)
                .map(|_| {
                    let storage = storage.clone();
                    tokio::spawn(async move { uploading(&storage).await })
                })
                .collect();
            is_begun.await.unwrap();

            open(&storage, "b").await;
            assert!(listing.iter().all(|listing| !listing.is_finished()));

            go_on.send(()).unwrap();
            for listing in listing {
                assert_eq!(listing.await.unwrap(), ["a", "b"]);
            }
        });
    }

    #[tokio::test]
    async fn a_pipe_in_place_of_a_record_blocks_no_thread_and_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let id = open(&storage, "a").await;
        let storage = reopened(&root, storage).await;
        let record = storage.store().layout.session_record(&id);
        fs::remove_file(&record).unwrap();
        mknodat(CWD, &record, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();

        assert_eq!(uploading(&storage).await, ["a"]);

        assert!(fs::metadata(&record).unwrap().is_file());
    }
}
