//! The storage that the server runs on: a directory that this process owns or reads, a bucket, or memory.

use crate::{
    bucket::{self, OpenBucket, Use},
    config::{Bucket, Settings, StorageKind},
    debug::Debug,
    opening::Opening,
    tasks::Tasks,
};
use registry_core::{
    Storage,
    maintenance::{MemoryNotes, Notes},
    storage::{MemoryStorage, StorageError},
};
use registry_storage_fs::{FsOptions, FsStorage, OpenError};
use std::{any::Any, future::Future, io, path::Path, pin::Pin, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Interval at which a starting server tries to open a directory that is in use.
const LOOKS: Duration = Duration::from_millis(100);

/// Interval at which a starting server tries to reach a bucket.
const TRIES: Duration = Duration::from_secs(5);

/// Number of bytes that are reserved for records of deletions on a full disk, where uploads leave some space free.
const FOR_RECORDS: u64 = 16 << 20;

/// Storage of the configured kind, opened.
pub(crate) enum Backend {
    Directory(FsStorage),
    Bucket(OpenBucket),
    Memory,
    Host(HostStorage),
}

/// Storage of the host.
pub(crate) struct HostStorage {
    storage: Arc<dyn Storage>,
    /// The same storage, if it is a directory.
    directory: Option<FsStorage>,
}

impl HostStorage {
    pub(crate) fn of(storage: impl Storage) -> Self {
        Self {
            directory: (&storage as &dyn Any).downcast_ref().cloned(),
            storage: Arc::new(storage),
        }
    }
}

impl Backend {
    /// Returns the directory, if that is where the images are.
    pub(crate) const fn directory(&self) -> Option<&FsStorage> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Host(host) => host.directory.as_ref(),
            Self::Bucket(_) | Self::Memory => None,
        }
    }

    /// Returns the bucket, if that is where the images are.
    pub(crate) const fn bucket(&self) -> Option<&OpenBucket> {
        match self {
            Self::Bucket(bucket) => Some(bucket),
            Self::Directory(_) | Self::Memory | Self::Host(_) => None,
        }
    }

    /// Returns the place for the notes of maintenance. Without a directory or bucket, they end with the process.
    pub(crate) fn notes(&self) -> Arc<dyn Notes> {
        match (self.directory(), self.bucket()) {
            (Some(directory), _) => Arc::new(directory.clone()),
            (None, Some(bucket)) => Arc::clone(&bucket.notes),
            (None, None) => Arc::new(MemoryNotes::default()),
        }
    }

    /// Returns the number of bytes that uploads leave free, if this storage refuses uploads below it.
    pub(crate) fn reserve(&self, settings: &Settings) -> Option<u64> {
        match (self, &settings.storage.kind) {
            (Self::Directory(_), StorageKind::Directory { min_free, .. }) => {
                Some(*min_free).filter(|reserve| *reserve > 0 && !settings.storage.read_only)
            }
            _ => None,
        }
    }

    /// Turns it into the storage of the registry, with metrics and a health check if there is a listener for them.
    pub(crate) fn into_storage(
        self,
        settings: &Settings,
        debug: Option<&mut Debug>,
        tasks: &mut Tasks,
    ) -> Arc<dyn Storage> {
        let check = settings.storage.check;
        match (self, debug) {
            (Self::Directory(directory), Some(debug)) => Arc::new(debug.watch(directory, check, tasks)),
            (Self::Directory(directory), None) => Arc::new(directory),
            (Self::Bucket(bucket), Some(debug)) => {
                let name = match &settings.storage.kind {
                    StorageKind::Bucket(bucket) => bucket.driver(),
                    _ => "host",
                };
                Arc::new(debug.watch_any(bucket.storage, name, check, tasks))
            }
            (Self::Bucket(bucket), None) => bucket.storage,
            (Self::Memory, _) => Arc::new(MemoryStorage::new()),
            (Self::Host(host), Some(debug)) => Arc::new(debug.watch_any(host.storage, "host", check, tasks)),
            (Self::Host(host), None) => host.storage,
        }
    }
}

/// Opens the configured storage, unless the host has one. Returns the output of `stop` if that ends before the directory
/// is free, or the bucket is reached. `opening` is told how the opening of a bucket goes.
pub(crate) async fn open<T>(
    settings: &Settings,
    host: Option<HostStorage>,
    opening: Option<&Opening>,
    stop: Pin<&mut (impl Future<Output = T> + Send)>,
) -> Result<Result<Backend, T>, String> {
    if let Some(storage) = host {
        return Ok(Ok(Backend::Host(storage)));
    }
    let (root, min_free, wait) = match &settings.storage.kind {
        StorageKind::Memory => return Ok(Ok(Backend::Memory)),
        StorageKind::Bucket(bucket) => {
            let usage = if settings.storage.read_only {
                Use::Read
            } else {
                Use::Write
            };
            return Ok(open_bucket(bucket, usage, opening, stop)
                .await?
                .map(Backend::Bucket));
        }
        StorageKind::Directory {
            root, min_free, wait, ..
        } => (root, min_free, wait),
    };
    let reserve = if *min_free > 0 { FOR_RECORDS } else { 0 };
    let options = FsStorage::options()
        .min_free(*min_free)
        .reserve_for_records(reserve);
    let opened = if settings.storage.read_only {
        options.read_only().open(root).map(Ok)
    } else {
        open_as_owner(options, root, *wait, stop).await
    };
    let directory = opened.map_err(|error| explained(&error))?;
    Ok(directory.map(Backend::Directory))
}

/// Opens a bucket as soon as its store can be reached, unless `stop` ends before.
///
/// A server that starts while the store is down starts to serve by itself once the store is back.
async fn open_bucket<T>(
    bucket: &Bucket,
    usage: Use,
    opening: Option<&Opening>,
    mut stop: Pin<&mut (impl Future<Output = T> + Send)>,
) -> Result<Result<OpenBucket, T>, String> {
    let tell = |fault| {
        if let Some(opening) = opening {
            opening.set(fault);
        }
    };
    loop {
        let opened = tokio::select! {
            opened = bucket::open(bucket, usage) => opened,
            stopped = stop.as_mut() => return Ok(Err(stopped)),
        };
        match opened {
            Ok(opened) => {
                tracing::info!("images are in {bucket}");
                tell(None);
                return Ok(Ok(opened));
            }
            Err(error @ StorageError::Unavailable { .. }) => {
                let (why, seconds) = (bucket::explained(bucket, &error), TRIES.as_secs());
                tracing::warn!("the bucket cannot be reached, trying again in {seconds} s: {why}");
                tell(Some(why));
            }
            Err(error) => return Err(bucket::explained(bucket, &error)),
        }
        tokio::select! {
            stopped = stop.as_mut() => {
                tracing::info!("stopping: the bucket cannot be reached");
                return Ok(Err(stopped));
            }
            () = sleep_until(Instant::now() + TRIES) => {}
        }
    }
}

/// Opens the directory as soon as no other process owns it, unless `stop` ends before.
///
/// A server that replaces another one can start while the other one finishes its running requests.
async fn open_as_owner<T>(
    options: FsOptions,
    root: &Path,
    wait: Duration,
    mut stop: Pin<&mut (impl Future<Output = T> + Send)>,
) -> Result<Result<FsStorage, T>, OpenError> {
    let deadline = Instant::now() + wait;
    let mut told = false;
    loop {
        let in_use = match options.open(root) {
            Err(error @ OpenError::InUse { .. }) if Instant::now() < deadline => error,
            opened => return opened.map(Ok),
        };
        if !told {
            tracing::info!("waiting up to {} s: {in_use}", wait.as_secs_f32());
            told = true;
        }
        tokio::select! {
            stopped = stop.as_mut() => {
                tracing::info!("stopping: the directory is still in use");
                return Ok(Err(stopped));
            }
            () = sleep_until(deadline.min(Instant::now() + LOOKS)) => {}
        }
    }
}

/// Remedy for a directory that can be read and not written.
const SERVES_IT_AS_IT_IS: &str = "to serve it as it is, set `storage.maintenance.readonly.enabled: true`";

/// Explains why the directory cannot be opened, with the key that names it and a remedy.
pub(crate) fn explained(error: &OpenError) -> String {
    let what = format!(
        "storage.filesystem.rootdirectory (--root): {}",
        crate::causes::with_causes(error)
    );
    match error {
        OpenError::NotWritable { path, user, source } => match source.kind() {
            io::ErrorKind::PermissionDenied => {
                format!(
                    "{what}; if the directory exists, run `chown -R {user} {}` as root",
                    path.display()
                )
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                format!("{what}; it, or a part of its path, is a file, but must be a directory")
            }
            io::ErrorKind::ReadOnlyFilesystem => format!("{what}; {SERVES_IT_AS_IT_IS}"),
            _ => what,
        },
        OpenError::InUse { .. } => format!(
            "{what}; `storage.filesystem.wait` sets how long to wait for it to end; servers with `storage.maintenance.readonly.enabled` can share the directory"
        ),
        OpenError::Full { .. } => format!("{what}; {SERVES_IT_AS_IT_IS}"),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_that_takes_nothing_is_told_with_the_key_that_serves_it() {
        let path = || "/data".into();
        let full = OpenError::Full {
            path: path(),
            lacking: "space",
            source: io::ErrorKind::StorageFull.into(),
        };
        let snapshot = OpenError::NotWritable {
            path: path(),
            user: 0,
            source: io::ErrorKind::ReadOnlyFilesystem.into(),
        };
        for (error, what) in [(full, "no space left"), (snapshot, "read-only filesystem")] {
            let told = explained(&error);
            for part in ["/data", what, "storage.maintenance.readonly.enabled"] {
                assert!(told.contains(part), "{told}");
            }
        }
    }
}
