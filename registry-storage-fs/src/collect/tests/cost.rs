//! Number of files that a schedule touches while it waits for work, in directories of different sizes.

use super::*;
use crate::seams;
use async_trait::async_trait;
use registry_core::{
    Registry,
    maintenance::{Clock, CollectOptions, CollectSchedule, Collections},
};
use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Numbers of blobs.
const SIZES: [usize; 3] = [20_000, 60_000, 200_000];
/// Number of layers of an image.
const LAYERS: usize = 49;

/// Writes images with this number of blobs in all into one repository.
fn fill(root: &Path, blobs: usize) {
    let top = support::top(root);
    let repository = top.join("repositories/a");
    let write = |path: &Path, content: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    let store = |digest: &Digest, content: &[u8]| {
        let hex = digest.hex();
        write(
            &top.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])),
            content,
        );
        (hex, digest.to_string())
    };
    for number in 0..blobs / (LAYERS + 1) {
        let layers: Vec<Needed> = (0..LAYERS)
            .map(|layer| {
                let content = Bytes::from(format!("{number} {layer}"));
                let layer = blob(&content);
                let (hex, link) = store(&layer.digest, &content);
                write(
                    &repository.join(format!("_layers/sha256/{hex}/link")),
                    link.as_bytes(),
                );
                layer
            })
            .collect();
        let image = image(&layers, &number.to_string());
        let (hex, link) = store(image.digest(), image.bytes());
        let revision = repository.join(format!("_manifests/revisions/sha256/{hex}/link"));
        write(&revision, link.as_bytes());
    }
}

/// A clock that moves a tag in the first step after the run at the opening, and counts what the step touches.
struct Moving {
    storage: FsStorage,
    root: std::path::PathBuf,
    steps: AtomicUsize,
    /// Told when the other work of the upkeep waits.
    idle: Notify,
    ended: Notify,
    touched: Mutex<usize>,
}

#[async_trait]
impl Clock for Moving {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, duration: Duration) {
        if duration > Duration::from_secs(5) {
            self.idle.notify_one();
            return std::future::pending().await;
        }
        let costs = seams::watch(&self.root);
        if self.steps.fetch_add(1, Ordering::Relaxed) > 0 {
            *self.touched.lock().unwrap() = costs.files + costs.entries;
            self.ended.notify_one();
            return std::future::pending().await;
        }
        self.idle.notified().await;
        put(&self.storage, &name("a"), &image(&[], "new"), &[], &["v1"])
            .await
            .unwrap();
        seams::watch(&self.root);
    }
}

/// Returns the number of files and entries that the step after the move of a tag touches.
async fn touched_in(blobs: usize) -> usize {
    let root = scratch();
    fill(root.path(), blobs);
    let storage = relaxed(root.path());
    put(&storage, &name("a"), &image(&[], "old"), &[], &["v1"])
        .await
        .unwrap();
    let clock = Moving {
        storage: storage.clone(),
        root: root.path().to_path_buf(),
        steps: AtomicUsize::new(0),
        idle: Notify::new(),
        ended: Notify::new(),
        touched: Mutex::default(),
    };
    let upkeep = Registry::builder(storage).build().upkeep().uploads(None).collect(
        Some(
            CollectSchedule::new(DAY)
                .options(CollectOptions::automatic())
                .foreign(true),
        ),
        Collections::default(),
    );
    seams::watch(root.path());
    tokio::select! {
        never = upkeep.run(&clock) => match never {},
        () = clock.ended.notified() => {}
    }
    clock.touched.into_inner().unwrap()
}

#[tokio::test]
async fn the_step_after_a_moved_tag_touches_few_files_however_many_there_are() {
    let mut touched = Vec::new();
    for blobs in SIZES {
        touched.push(touched_in(blobs).await);
    }
    assert!((1..100).contains(&touched[0]), "{touched:?}");
    assert!(touched.iter().all(|count| *count == touched[0]), "{touched:?}");
}
