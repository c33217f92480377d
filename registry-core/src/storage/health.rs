//! [`StorageHealth`]: the contract for health checks and gauges.

use super::error::Result;
use async_trait::async_trait;

/// Reports the condition of a storage.
///
/// ```
/// use registry_core::storage::{MemoryStorage, Storage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let health = storage.health().ok_or("this storage has no health checks")?;
///
/// health.probe().await?;
/// match health.space().await? {
///     Some(space) => println!("{} of {} bytes are free", space.bytes_free, space.bytes_total),
///     None => println!("there is no known limit"),
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Each future can be dropped at any point. A probe that writes leaves nothing behind.
#[async_trait]
pub trait StorageHealth: Send + Sync {
    /// Checks that the storage can be used: writes a little, reads it back and removes it. A read-only storage
    /// only reads.
    ///
    /// # Errors
    ///
    /// Any [`StorageError`](super::StorageError) that names the failed operation.
    async fn probe(&self) -> Result<()>;

    /// Measures the space of the storage. `None` if it has no limit that is known.
    async fn space(&self) -> Result<Option<Space>>;

    /// Checks that there is room for a further upload. A read-only storage always succeeds.
    ///
    /// # Errors
    ///
    /// [`StorageError::Full`](super::StorageError::Full) if uploads are refused.
    async fn accepts_uploads(&self) -> Result<()>;
}

/// Size and free space of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// Bytes that may still be written.
    pub bytes_free: u64,
    /// Total number of bytes.
    pub bytes_total: u64,
    /// Number of files that may still be created, if that is limited and known.
    pub files_free: Option<u64>,
}

impl Space {
    /// Describes a storage of `bytes_total` bytes, of which `bytes_free` are free.
    #[must_use]
    pub const fn new(bytes_free: u64, bytes_total: u64) -> Self {
        Self {
            bytes_free,
            bytes_total,
            files_free: None,
        }
    }

    /// Sets the number of files that may still be created.
    #[must_use]
    pub const fn with_files_free(self, files_free: Option<u64>) -> Self {
        Self { files_free, ..self }
    }
}
