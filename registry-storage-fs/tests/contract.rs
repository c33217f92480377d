//! The storage contract, kept by a directory on disk.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{
    storage::{Backend, Damage, Handles},
    storage_tests,
};
use registry_core::Digest;
use registry_storage_fs::{Durability, FsStorage, OpenError};
use std::{fs, path::Path, sync::Arc};
use tempfile::TempDir;

/// Two handles, for one process owns a directory.
async fn open(root: &Path, durability: Durability) -> Handles {
    loop {
        match FsStorage::options().durability(durability).open(root) {
            Ok(storage) => return (Arc::new(storage.clone()), Arc::new(storage)),
            // A thread that an operation left behind when it was dropped still has it.
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

fn damage(root: &Path, digest: &Digest, damage: Damage) {
    let hex = digest.hex();
    let blobs = root
        .join("docker/registry/v2/blobs")
        .join(digest.algorithm().as_str());
    let data = blobs.join(&hex[..2]).join(&hex).join("data");
    let mut bytes = fs::read(&data).unwrap();
    match damage {
        Damage::Emptied => bytes.clear(),
        Damage::Truncated => bytes.truncate(bytes.len() / 2),
        Damage::Flipped => *bytes.first_mut().unwrap() ^= 1,
    }
    fs::write(&data, bytes).unwrap();
}

async fn directory(durability: Durability) -> Backend {
    let directory = Arc::new(TempDir::new().unwrap());
    let (first, second) = open(directory.path(), durability).await;
    let (reopened, damaged, read, rival) = (
        Arc::clone(&directory),
        Arc::clone(&directory),
        Arc::clone(&directory),
        Arc::clone(&directory),
    );
    Backend::new(first, second)
        .reopening(move || {
            let directory = Arc::clone(&reopened);
            async move { open(directory.path(), durability).await }
        })
        .damaging(move |digest, kind| damage(damaged.path(), digest, kind))
        .reading(move || Arc::new(FsStorage::options().read_only().open(read.path()).unwrap()))
        .rivalled(move || FsStorage::open(rival.path()).is_ok())
        .keeping(directory)
}

async fn relaxed() -> Backend {
    directory(Durability::Relaxed).await
}

storage_tests!(
    relaxed, collect, damage, expire, health, inspect, read_only, repair, restart, trash
);

/// Opened as by default.
mod durable {
    use super::*;

    async fn durable() -> Backend {
        directory(Durability::Full).await
    }

    storage_tests!(
        durable, collect, damage, expire, health, inspect, read_only, repair, restart, trash
    );
}
