//! Checks stored content against its digest.

use crate::{
    bucket::{Chunks, Meta},
    keys,
    store::Store,
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_core::{
    Digest,
    hash::Hasher,
    storage::{Checked, Evidence, Result, StorageError},
};
use std::{error::Error as _, time::UNIX_EPOCH};

/// Maximum number of times that content is read while pushes keep replacing it.
const TRIES: usize = 8;

/// Number of failures to read content beside a store that works, after which it counts as unreadable.
const FAILURES: usize = 3;

/// Number of bytes that are hashed at once, away from the threads of the runtime.
const PIECE: usize = 1 << 20;

impl Store {
    pub(super) async fn check(&self, digest: &Digest) -> Result<Checked> {
        let key = keys::blob(digest);
        let mut failed = 0;
        for _ in 0..TRIES {
            match self.check_once(digest, &key).await {
                Ok(Some(checked)) => return Ok(checked),
                Ok(None) => {}
                Err(error) => {
                    // The storage as a whole does not work if this fails as well.
                    self.bucket.head(keys::VERIFICATION).await?;
                    failed += 1;
                    // It may not have worked meanwhile.
                    if failed < FAILURES && matches!(error, StorageError::Unavailable { .. }) {
                        continue;
                    }
                    return Ok(Checked::unreadable(key, described(&error)));
                }
            }
        }
        let reason = format!("it was replaced {TRIES} times while it was read");
        Ok(Checked::unreadable(key, reason))
    }

    /// Returns `None` if the content was replaced meanwhile.
    async fn check_once(&self, digest: &Digest, key: &str) -> Result<Option<Checked>> {
        let new = || Hasher::new(digest.algorithm());
        let Some((meta, chunks)) = self.bucket.read_whole(key).await? else {
            return Ok(Some(Checked::Absent));
        };
        let hashed = hash(chunks, new()).await?;
        let (size, first) = (hashed.offset(), hashed.digest());
        if first == Some(*digest) {
            return Ok(Some(Checked::sound(size)));
        }
        let Some((again, chunks)) = self.bucket.read_whole(key).await? else {
            return Ok(None);
        };
        if version(&again) != version(&meta) {
            return Ok(None);
        }
        if hash(chunks, new()).await?.digest() != first {
            let reason =
                "read twice with different results; check the network, and the memory of this machine";
            return Ok(Some(Checked::unreadable(key, reason)));
        }
        let reason = match first {
            Some(actual) => format!("{size} bytes with the digest {actual}"),
            None => format!("{size} bytes with another digest"),
        };
        Ok(Some(Checked::Corrupt(Evidence::new(
            *digest,
            key,
            reason,
            version(&meta),
        ))))
    }
}

/// Identifies the content of an object as of now.
pub(super) fn version(meta: &Meta) -> String {
    let modified = meta.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{} {} {}", meta.version.text(), meta.size, modified.as_secs())
}

fn described(error: &StorageError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

async fn hash(mut chunks: Chunks, mut hasher: Hasher) -> Result<Hasher> {
    let mut piece: Vec<Bytes> = Vec::new();
    let mut length = 0;
    loop {
        let chunk = chunks.try_next().await?;
        let is_last = chunk.is_none();
        length += chunk.as_ref().map_or(0, Bytes::len);
        piece.extend(chunk);
        if is_last || length >= PIECE {
            let ready = std::mem::take(&mut piece);
            length = 0;
            hasher = tokio::task::spawn_blocking(move || {
                ready.iter().for_each(|bytes| hasher.update(bytes));
                hasher
            })
            .await
            .map_err(|error| StorageError::failed("cannot hash content", error))?;
        }
        if is_last {
            return Ok(hasher);
        }
    }
}
