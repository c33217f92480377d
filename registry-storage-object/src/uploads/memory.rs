//! [`PartMemory`]: the memory that the parts of all uploads share.
//!
//! Received bytes are copied out of the buffers of their connection, which may be much larger. They count from the first
//! byte of a part that is longer than [`IN_RECORD`](super::writer::IN_RECORD) until the store has them; the bytes of a body
//! that closes its session count until they are committed. Beside it, each upload has less than 1 MiB: what is too short
//! for a part, and two pieces that have just been received.

use crate::options::ObjectOptions;
use bytes::Bytes;
use registry_core::storage::{Result, StorageError};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Unit in which memory is shared.
const UNIT: u64 = 64 << 10;

/// Number of parts of one size, before parts become twice as large. A store accepts 10,000 parts.
const OF_ONE_SIZE: usize = 1000;

/// Size of the largest part that stores accept.
const LARGEST: u64 = 5 << 30;

/// The memory that the parts of all uploads share. Uploads get it in the order in which they ask.
#[derive(Debug)]
pub(crate) struct PartMemory {
    units: u32,
    free: Arc<Semaphore>,
}

impl PartMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT)
            .unwrap_or(u32::MAX / 8)
            .clamp(1, u32::MAX / 8);
        Self {
            units,
            free: Arc::new(Semaphore::new(units as usize)),
        }
    }

    /// Returns the number of bytes that nobody has.
    #[cfg(test)]
    pub(super) fn free(&self) -> u64 {
        self.free.available_permits() as u64 * UNIT
    }

    /// Waits until there is memory for so many bytes. More than all of it is all of it.
    pub(super) async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT))
            .unwrap_or(u32::MAX)
            .min(self.units);
        Arc::clone(&self.free)
            .acquire_many_owned(units)
            .await
            .map_err(|closed| StorageError::failed("the memory for uploads is closed", closed))
    }
}

/// Gives back what is too much for so many bytes.
pub(super) fn shrink(memory: &mut OwnedSemaphorePermit, bytes: u64) {
    let needed = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
    let spare = memory.num_permits().saturating_sub(needed);
    drop(memory.split(spare));
}

/// Bytes that keep their memory until the last of their clones and slices is dropped.
pub(super) fn keep(bytes: Vec<u8>, memory: Option<OwnedSemaphorePermit>) -> Bytes {
    struct Kept {
        bytes: Vec<u8>,
        _memory: Option<OwnedSemaphorePermit>,
    }
    impl AsRef<[u8]> for Kept {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    Bytes::from_owner(Kept {
        bytes,
        _memory: memory,
    })
}

/// Returns the size of the next part after `parts` others.
pub(super) fn part_size(options: &ObjectOptions, parts: usize) -> u64 {
    let size = options.part_size.max(1);
    if options.equal_parts {
        return size;
    }
    let doubled = u32::try_from(parts / OF_ONE_SIZE).unwrap_or(u32::MAX).min(16);
    // One part is sent while the next one fills.
    let most = (options.part_memory / 2).min(LARGEST).max(size);
    (size << doubled).min(most)
}

/// Returns the number of bytes in parts.
#[cfg(test)]
fn total(options: &ObjectOptions) -> u64 {
    (0..10_000).map(|parts| part_size(options, parts)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tebibytes_fit_if_there_is_memory_for_large_parts() {
        let options = ObjectOptions::new();
        assert_eq!(part_size(&options, 999), 16 << 20);
        assert_eq!(part_size(&options, 1000), 32 << 20);
        assert!(total(&options) > 750 << 30);
        assert!(total(&options.clone().part_memory(8 << 30)) > 10 << 40);
        let equal = options.equal_parts();
        assert_eq!(total(&equal), 10_000 * (16 << 20));
    }

    #[tokio::test]
    async fn kept_bytes_have_no_more_memory_than_they_need() {
        let memory = PartMemory::new(1 << 20);
        let mut all = memory.take(1 << 20).await.unwrap();
        shrink(&mut all, UNIT + 1);
        assert_eq!(memory.free.available_permits(), 14);
        let kept = keep(vec![0; 100], Some(all));
        let slice = kept.slice(50..60);
        drop(kept);
        assert_eq!(memory.free.available_permits(), 14);
        drop(slice);
        assert_eq!(memory.free.available_permits(), 16);
    }

    #[tokio::test]
    async fn what_is_larger_than_all_memory_waits_for_all_of_it() {
        let memory = PartMemory::new(1 << 20);
        let all = memory.take(1 << 30).await.unwrap();
        assert_eq!(memory.free.available_permits(), 0);
        drop(all);
        assert_eq!(memory.free.available_permits(), 16);
    }
}
