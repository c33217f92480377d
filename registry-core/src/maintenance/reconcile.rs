//! [`reconcile_uploads`]: corrects the count of open upload sessions.

use super::scan::Scan;
use crate::{
    ledger::UploadLedger,
    storage::{Storage, StorageError, StorageWrite},
};

/// Compares a ledger with the open sessions of its storage: adds those that were opened before the start or by
/// another process, and drops those that ended elsewhere. [`Upkeep`](super::Upkeep) does the same periodically.
///
/// It runs beside requests, and no session that they open or end meanwhile is lost or brought back. Sessions that
/// cannot be read count as open.
///
/// A storage that cannot be inspected is asked about each session that counts. Those of other processes then do not
/// count.
///
/// ```
/// use registry_core::{Registry, UploadLedger, maintenance::reconcile_uploads, storage::MemoryStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let storage = MemoryStorage::new();
/// let other = Registry::builder(storage.clone()).build();
/// other.repository("a")?.open_upload(registry_core::Algorithm::Sha256).await?;
///
/// let ledger = UploadLedger::new();
/// reconcile_uploads(&storage, &ledger).await?;
///
/// assert_eq!(ledger.open_uploads(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Cancel safety
///
/// Safe: a dropped call leaves the ledger as it was, or with some of the corrections.
///
/// # Errors
///
/// Any [`StorageError`] if the repositories with sessions cannot be listed. No session was dropped.
pub async fn reconcile_uploads(storage: &dyn Storage, ledger: &UploadLedger) -> Result<(), StorageError> {
    if let Some(inspect) = storage.inspect() {
        Scan::of(inspect).counting(ledger.walk()).run().await?;
    } else if let Some(write) = storage.write() {
        drop_ended(write, ledger).await;
    }
    Ok(())
}

/// Asks the storage about each session that counts.
pub(super) async fn drop_ended(write: &dyn StorageWrite, ledger: &UploadLedger) {
    for (repository, id) in ledger.sessions() {
        match write.upload(&repository, &id).await {
            Ok(Some(_)) => {}
            Ok(None) => ledger.ended(&repository, &id),
            Err(error) => {
                tracing::warn!(%repository, %id, %error, "cannot look for an upload session; it counts as open");
            }
        }
    }
}
