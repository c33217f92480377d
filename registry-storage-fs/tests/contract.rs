//! The storage contract, kept by a directory on disk, by one of its tenants, and by a directory above
//! another storage.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use registry_conformance::{
    storage::{Backend, Damage, Handles},
    storage_tests,
};
use registry_core::{
    Digest, MediaType, Reference, Registry, RepositoryName,
    service::ManifestPush,
    storage::{FallbackStorage, MemoryStorage, PrefixStorage, ReadOnlyStorage, Storage},
};
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

/// A tenant of a directory.
mod tenant {
    use super::*;

    fn of<S: Storage>(storage: S) -> PrefixStorage<S> {
        PrefixStorage::new(storage, RepositoryName::parse("acme").unwrap())
    }

    async fn tenants(root: &Path) -> Handles {
        let (first, _) = open(root, Durability::Relaxed).await;
        let tenant = of(first);
        (Arc::new(tenant.clone()), Arc::new(tenant))
    }

    async fn tenant() -> Backend {
        let directory = Arc::new(TempDir::new().unwrap());
        let (first, second) = tenants(directory.path()).await;
        let [reopened, damaged, read, rival] = [(); 4].map(|()| Arc::clone(&directory));
        Backend::new(first, second)
            .reopening(move || {
                let directory = Arc::clone(&reopened);
                async move { tenants(directory.path()).await }
            })
            .damaging(move |digest, kind| damage(damaged.path(), digest, kind))
            .reading(move || {
                let directory = FsStorage::options().read_only().open(read.path());
                Arc::new(of(directory.unwrap()))
            })
            .rivalled(move || FsStorage::open(rival.path()).is_ok())
            .keeping(directory)
    }

    storage_tests!(tenant, damage, read_only, restart);

    #[tokio::test]
    async fn a_mount_without_a_source_finds_it_beside_many_neighbours_with_the_blob() {
        let directory = TempDir::new().unwrap();
        let storage = FsStorage::options()
            .durability(Durability::Relaxed)
            .open(directory.path())
            .unwrap();
        let host = Registry::builder(storage.clone()).build();
        let tenant = Registry::builder(of(storage)).build();
        // The directory remembers fewer holders of a blob.
        for number in 0..40 {
            let neighbour = host.repository(format!("aaa/r{number}")).unwrap();
            neighbour.push_blob("layer", None).await.unwrap();
        }
        let app = tenant.repository("app").unwrap();
        let blob = app.push_blob("layer", None).await.unwrap();
        let stored = host
            .repository("acme/app")
            .unwrap()
            .blob(&blob.digest)
            .await
            .unwrap();
        assert!(stored.unwrap().modified.is_some());
        let seen = app.blob(&blob.digest).await.unwrap();
        assert_eq!(seen.unwrap().modified, None, "the neighbours stored it first");

        let copy = tenant.repository("copy").unwrap();
        let source = copy.mount(&blob.digest, None).await.unwrap();

        assert_eq!(source.as_ref(), Some(app.name()));
    }
}

/// A directory above a storage that is only read.
mod fallback {
    use super::*;

    type Above<S> = FallbackStorage<S, ReadOnlyStorage<MemoryStorage>>;

    fn above<S: Storage>(storage: S) -> Above<S> {
        FallbackStorage::new(storage, ReadOnlyStorage::new(MemoryStorage::new()))
    }

    async fn layers(root: &Path) -> Handles {
        let (first, second) = open(root, Durability::Relaxed).await;
        (Arc::new(above(first)), Arc::new(above(second)))
    }

    async fn fallback() -> Backend {
        let directory = Arc::new(TempDir::new().unwrap());
        let (first, second) = layers(directory.path()).await;
        let [reopened, damaged, read, rival] = [(); 4].map(|()| Arc::clone(&directory));
        Backend::new(first, second)
            .reopening(move || {
                let directory = Arc::clone(&reopened);
                async move { layers(directory.path()).await }
            })
            .damaging(move |digest, kind| damage(damaged.path(), digest, kind))
            .reading(move || {
                let directory = FsStorage::options().read_only().open(read.path());
                Arc::new(above(directory.unwrap()))
            })
            .rivalled(move || FsStorage::open(rival.path()).is_ok())
            .keeping(directory)
    }

    storage_tests!(fallback, damage, health, read_only, restart, trash);

    #[tokio::test]
    async fn a_manifest_is_put_with_what_only_another_directory_has() {
        let [upper, lower] = [(); 2].map(|()| TempDir::new().unwrap());
        let [upper, lower] = [&upper, &lower].map(|directory| {
            let options = FsStorage::options().durability(Durability::Relaxed);
            options.open(directory.path()).unwrap()
        });
        let base = Registry::builder(lower.clone())
            .build()
            .repository("app")
            .unwrap();
        let layer = base.push_blob("layer", None).await.unwrap();
        let cache = |digest| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"application/x","digest":"{digest}","size":5}}]}}"#,
                MediaType::OCI_INDEX
            )
        };
        let [v1, v2] = ["v1", "v2"].map(|tag| Reference::parse(tag).unwrap());
        let both = FallbackStorage::new(upper.clone(), ReadOnlyStorage::new(lower));
        let both = Registry::builder(both).build().repository("app").unwrap();

        // As BuildKit's cache, an index of a blob.
        base.put_manifest(ManifestPush::new(v1.clone(), cache(layer.digest)))
            .await
            .unwrap();
        both.put_manifest(ManifestPush::new(v2.clone(), cache(layer.digest)))
            .await
            .unwrap();

        let own = Registry::builder(upper).build().repository("app").unwrap();
        assert!(own.blob(&layer.digest).await.unwrap().is_some());
        assert!(own.manifest(v2).await.unwrap().is_some());
        assert!(own.manifest(v1.clone()).await.unwrap().is_none());
        assert!(both.manifest(v1).await.unwrap().is_some());
    }
}
