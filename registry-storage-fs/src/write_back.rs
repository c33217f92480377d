//! Syncs the received bytes of an upload while more of it arrives.
//!
//! By default the kernel keeps written bytes in memory, up to a fifth of it. The sync at the upload's close then
//! writes all of them, for minutes, while the client and every proxy wait for an answer. Each [`STEP`] is therefore
//! synced while the next one is received, and at most two are left at the close. A disk slower than the client slows
//! the client down while it sends, when no timeout is near.

use crate::{
    error::Context as _,
    runtime::{Begun, joined},
    store::{FsStorage, Store},
    uploads::Claimed,
};
use registry_core::{RepositoryName, storage::Result};
use std::{fs::File, sync::Arc};

/// Number of bytes after which the next sync begins. At this size its cost, a few milliseconds of a fast disk, is
/// negligible.
const STEP: u64 = 64 << 20;

/// The syncs of one append.
pub(crate) struct WriteBack {
    repository: RepositoryName,
    /// Number of bytes written when the last sync began.
    begun: u64,
    running: Option<Begun<Result<()>>>,
}

impl WriteBack {
    /// Begins at `offset`: the bytes before it are synced by others.
    pub(crate) const fn new(repository: RepositoryName, offset: u64) -> Self {
        Self {
            repository,
            begun: offset,
            running: None,
        }
    }

    /// Begins the next sync if `written` has advanced by a step, after the previous one has ended and a turn is free.
    ///
    /// The sync shares the session's lock. If nobody waits for the append any more, the sync may be the last holder:
    /// then the upload cannot be closed before the outcome is known.
    pub(crate) async fn go_on(
        &mut self,
        storage: &FsStorage,
        claimed: &Claimed,
        file: &File,
        written: u64,
    ) -> Result<()> {
        if written - self.begun < STEP || !storage.store().disk.syncs() {
            return Ok(());
        }
        self.end().await?;
        let turn = Arc::clone(&storage.store().write_back)
            .acquire_owned()
            .await
            .expect("nobody closes it");
        self.begun = written;
        let file = file.try_clone();
        let (data, directory) = (claimed.session.data(), claimed.session.directory().to_path_buf());
        let (repository, lock) = (self.repository.clone(), Arc::clone(&claimed.lock));
        self.running = Some(storage.start(move |store: &Store| {
            let (_lock, _turn) = (lock, turn);
            store.sync_upload(
                &repository,
                &directory,
                &file.at("duplicate the descriptor of", &data)?,
                &data,
            )
        })?);
        Ok(())
    }

    /// Waits for the sync in progress.
    pub(crate) async fn end(&mut self) -> Result<()> {
        match self.running.take() {
            Some(running) => joined(Ok(running)).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, FsOptions, pieces, store::UPLOAD_SYNCS};
    use bytes::Bytes;
    use http_body::{Body, Frame};
    use registry_core::{
        Algorithm,
        hash::Hasher,
        storage::{BoxError, NewUpload, StorageError, UploadBody, UploadState, Verified},
    };
    use std::{
        fs,
        os::unix::fs::symlink,
        pin::{Pin, pin},
        task::{Context, Poll},
        time::Duration,
    };
    use tokio::time::timeout;

    /// A body of that many zeros.
    struct Zeros(u64);

    impl Body for Zeros {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            const CHUNK: &[u8] = &[0; 1 << 20];
            if self.0 == 0 {
                return Poll::Ready(None);
            }
            self.0 -= CHUNK.len() as u64;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(CHUNK)))))
        }
    }

    /// Opens a session whose data is a device that takes the bytes, and cannot sync them.
    fn on_a_disk_that_cannot_sync(storage: &FsStorage, repository: &RepositoryName) -> UploadState {
        let store = storage.store();
        let state = store
            .open_upload(repository, &NewUpload::hashed_by(Algorithm::Sha256))
            .unwrap();
        let data = store.layout.upload(repository, &state.id).data();
        let _ = fs::remove_file(&data);
        symlink("/dev/null", data).unwrap();
        state
    }

    async fn append_to_it(durability: Durability, length: u64) -> (Result<()>, u64, bool) {
        let root = tempfile::tempdir().unwrap();
        let storage = FsOptions::default()
            .durability(durability)
            .open(root.path())
            .unwrap();
        let repository = RepositoryName::parse("a").unwrap();
        let state = on_a_disk_that_cannot_sync(&storage, &repository);
        let mut zeros = pin!(Zeros(length));
        let mut body = UploadBody::new(zeros.as_mut(), &state, None);
        let appended = storage.append_body(&repository, state.clone(), &mut body).await;
        drop(body);
        let left = zeros.0;
        let is_there = storage.store().upload(&repository, &state.id).unwrap().is_some();
        (appended.map(drop), length - left, is_there)
    }

    #[tokio::test]
    async fn a_body_is_synced_while_it_arrives_and_a_failed_sync_ends_the_session() {
        let (appended, received, is_there) = append_to_it(Durability::Full, 1 << 30).await;

        assert!(appended.is_err());
        // One piece is received while another one is written.
        let most = 2 * STEP + 2 * pieces::MOST as u64;
        assert!((STEP..=most).contains(&received), "{received}");
        assert!(!is_there);
    }

    #[tokio::test]
    async fn who_does_not_wait_for_the_disk_does_not_sync_while_receiving() {
        let (appended, received, is_there) = append_to_it(Durability::Relaxed, 3 * STEP).await;

        appended.unwrap();
        assert_eq!(received, 3 * STEP);
        assert!(is_there);
    }

    /// Otherwise a slow disk would occupy every thread, and reads would wait.
    #[tokio::test(start_paused = true)]
    async fn no_more_are_synced_at_once_than_that_and_the_others_wait() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let repository = RepositoryName::parse("a").unwrap();
        let state = storage
            .store()
            .open_upload(&repository, &NewUpload::hashed_by(Algorithm::Sha256))
            .unwrap();
        let zeros = pin!(Zeros(2 * STEP));
        let mut body = UploadBody::new(zeros, &state, None);
        let turns = &storage.store().write_back;
        let all = turns
            .acquire_many(u32::try_from(UPLOAD_SYNCS).unwrap())
            .await
            .unwrap();
        let mut appending = pin!(storage.append_body(&repository, state, &mut body));

        // The paused clock advances when all tasks wait.
        timeout(Duration::from_secs(60), appending.as_mut())
            .await
            .unwrap_err();
        drop(all);

        assert_eq!(appending.await.unwrap().offset, 2 * STEP);
    }

    /// A second attempt would not see the failure, and would acknowledge lost bytes.
    #[tokio::test]
    async fn a_close_whose_sync_fails_is_not_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let repository = RepositoryName::parse("a").unwrap();
        let state = on_a_disk_that_cannot_sync(&storage, &repository);
        let proof = || Verified::from_hasher(state.id, Hasher::new(Algorithm::Sha256)).unwrap();

        let failed = storage.store().commit(&repository, &state, &proof());
        let again = storage.store().commit(&repository, &state, &proof());

        assert!(matches!(failed, Err(StorageError::Internal { .. })), "{failed:?}");
        assert!(matches!(again, Err(StorageError::UploadUnknown)), "{again:?}");
    }
}
