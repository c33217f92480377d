//! Removals per second without a budget, beside `rm -rf` of an equal tree.

use crate::{Host, median, process::processor_time, tree};
use registry_core::{
    maintenance::{CollectOptions, collect},
    storage::{Census, Reclaimed, StorageCollect, Terms, Victim},
};
use registry_storage_fs::FsStorage;
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Number of blobs, each with a link. Both are items that are removed.
const BLOBS: usize = 50_000;
const ROUNDS: usize = 5;
/// Number of items that a run removes at once.
const BATCH: usize = 256;

/// A way to remove a tree.
struct Way {
    name: &'static str,
    remove: fn(&Path) -> Used,
}

/// Time for a tree.
struct Used {
    elapsed: Duration,
    processor: Duration,
}

pub(crate) fn compare(directory: &Path) {
    let ways = [
        Way {
            name: "rm -rf",
            remove: by_rm,
        },
        Way {
            name: "removal of known items",
            remove: by_reclaim,
        },
        Way {
            name: "whole run",
            remove: by_run,
        },
    ];
    let mut taken: Vec<Vec<Used>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (way, taken) in ways.iter().zip(&mut taken) {
            let root = tempfile::tempdir_in(directory).unwrap();
            tree::grow(root.path(), BLOBS);
            taken.push((way.remove)(root.path()));
        }
    }
    let items = 2.0 * BLOBS as f64;
    for (way, taken) in ways.iter().zip(taken) {
        let rates = taken
            .iter()
            .map(|used| items / used.elapsed.as_secs_f64())
            .collect();
        let costs = taken
            .iter()
            .map(|used| used.processor.as_secs_f64() * 1e6 / items)
            .collect();
        let (rate, cost) = (median(rates), median(costs));
        println!(
            "{:<24} {rate:>8.0} items/s, {cost:>6.1} µs of processors each",
            way.name
        );
    }
}

fn timed(work: impl FnOnce()) -> Used {
    let (began, before) = (Instant::now(), processor_time());
    work();
    Used {
        elapsed: began.elapsed(),
        processor: processor_time() - before,
    }
}

fn by_rm(root: &Path) -> Used {
    let tree = root.join("docker");
    let used = timed(|| {
        assert!(
            Command::new("rm")
                .arg("-rf")
                .arg(&tree)
                .status()
                .unwrap()
                .success()
        )
    });
    assert!(!tree.exists());
    used
}

/// Removes everything by one run, which looks at everything twice.
fn by_run(root: &Path) -> Used {
    let (runtime, storage) = (Runtime::new().unwrap(), FsStorage::open(root).unwrap());
    let options = CollectOptions::new().grace(Duration::ZERO).empty_trash(true);
    timed(|| {
        let report = runtime
            .block_on(collect(&storage, &options, &Host, &|_| {}))
            .unwrap();
        assert!(report.stopped.is_none(), "{report:?}");
        assert_eq!(
            (report.removed.links, report.removed.data),
            (BLOBS as u64, BLOBS as u64)
        );
    })
}

/// Removes items that are known, in the order of a run.
fn by_reclaim(root: &Path) -> Used {
    let (runtime, storage) = (Runtime::new().unwrap(), FsStorage::open(root).unwrap());
    let mut digests: Vec<_> = (0..BLOBS)
        .map(|number| (tree::repository(number), tree::digest(number)))
        .collect();
    digests.sort();
    let mut victims: Vec<_> = digests
        .into_iter()
        .map(|(name, digest)| Victim::Link(name, digest))
        .collect();
    let mut data: Vec<_> = (0..BLOBS).map(tree::digest).collect();
    data.sort();
    victims.extend(data.into_iter().map(Victim::Data));
    timed(|| runtime.block_on(reclaim(&storage, &victims)))
}

async fn reclaim(storage: &FsStorage, victims: &[Victim]) {
    let run = StorageCollect::begin(storage, Terms::new().with_grace(Duration::ZERO))
        .await
        .unwrap();
    for victims in victims.chunks(BATCH) {
        let reclaimed = storage.reclaim(&run, victims).await.unwrap();
        assert!(
            reclaimed
                .iter()
                .all(|item| matches!(item, Reclaimed::Removed { .. }))
        );
    }
    storage.end(run, Census::new(0)).await.unwrap();
}
