//! [`collect`]: removal of content that nothing refers to, beside traffic.
//!
//! A run begins by asking the storage to record what it promises to clients from then on. It then looks at everything,
//! to learn what a removal would free and if that is plausible. It looks a second time and removes: manifests and links
//! of one repository after the other, then bytes, then empty repositories. The storage refuses to remove what was
//! promised since the run began, so that what a run has seen and what it is refused is everything.
//!
//! [`graph`] decides about manifests, [`marks`] about bytes. [`survey`] reads one repository.

mod collections;
mod counts;
mod graph;
mod lost;
mod marks;
mod options;
mod pass;
mod pin;
mod references;
mod report;
mod requests;
mod schedule;
mod survey;
mod trash;
mod unhurried;
mod watch;

pub(super) use self::requests::RunRequest;
pub use self::{
    collections::{Collections, PausedCollections},
    counts::{CollectCounts, DueItems},
    options::CollectOptions,
    pin::{Pin, PinCause},
    report::{CollectEvent, CollectReport, Later, Removed, Restorable, Stopped, Why},
    schedule::CollectSchedule,
};

use self::{
    pass::{Act, Means, Pass, Told},
    trash::empty_trash,
    unhurried::Unhurried,
};
use super::clock::Clock;
use crate::storage::{Census, Run, Storage, StorageError};

/// Removes content that nothing refers to. Clients may pull and push meanwhile.
///
/// - Tags keep the manifests that they point at. Unless the options say otherwise, every manifest stays.
/// - A manifest keeps the blobs and manifests that it names, and the manifests that refer to it as their subject.
/// - Whatever cannot be read keeps everything that it may refer to. The report names it.
/// - A tag that was lost keeps what it pointed at, until it exists again or is deleted. The report names it, too.
/// - What a deletion has a record of stays until the record is forgotten, unless the options say otherwise.
/// - What clients were told to exist since the run began stays, and so does what was used in the grace period.
///
/// `told` is called with each step. Dropping the future ends the run between two steps; what is left is removed by the
/// next one.
///
/// ```
/// use registry_core::{
///     Registry,
///     maintenance::{Clock, CollectOptions, collect},
///     storage::MemoryStorage,
/// };
/// use std::time::{Duration, SystemTime};
///
/// # struct Host;
/// # #[async_trait::async_trait]
/// # impl Clock for Host {
/// #     fn now(&self) -> SystemTime {
/// #         SystemTime::now()
/// #     }
/// #     async fn sleep(&self, duration: Duration) {
/// #         tokio::time::sleep(duration).await;
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let registry = Registry::builder(storage.clone()).build();
/// let blob = registry.repository("team/app")?.push_blob("a layer without a manifest", None).await?;
///
/// // Nobody pushes now, so that there is no need to wait for a day.
/// let options = CollectOptions::new().grace(Duration::ZERO).uploading(Duration::ZERO);
/// let preview = collect(&storage, &options.dry_run(true), &Host, &|event| println!("{event:?}")).await?;
/// let report = collect(&storage, &options, &Host, &|_| {}).await?;
///
/// assert_eq!(report.removed, preview.removed);
/// assert_eq!(report.removed.bytes, blob.size);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Safe: a dropped call ends its run. What it has removed stays away, and the next run finds the rest.
///
/// # Errors
///
/// - [`StorageError::Unsupported`] if the storage does not collect or cannot be inspected.
/// - [`StorageError::Busy`] if another run is open.
/// - Any other error if the run cannot begin. Failures from then on are [`CollectReport::stopped`].
pub async fn collect(
    storage: &dyn Storage,
    options: &CollectOptions,
    clock: &dyn Clock,
    told: Told<'_>,
) -> Result<CollectReport, StorageError> {
    run_beside(storage, options, clock, told, None).await
}

/// Does the same. A run with a rate does not rest while somebody has requested one of `collections`.
async fn run_beside(
    storage: &dyn Storage,
    options: &CollectOptions,
    clock: &dyn Clock,
    told: Told<'_>,
    collections: Option<&Collections>,
) -> Result<CollectReport, StorageError> {
    let (Some(inspect), Some(collect)) = (storage.inspect(), storage.collect()) else {
        return Err(StorageError::Unsupported("collect content"));
    };
    let rests = options.rate.is_some() && !options.hurried;
    let unhurried = rests.then(|| Unhurried::new(inspect, clock, collections));
    let means = Means {
        storage,
        inspect: match &unhurried {
            Some(unhurried) => unhurried,
            None => inspect,
        },
        unhurried: unhurried.as_ref(),
        collect,
        options,
        clock,
        told,
    };
    if options.dry_run {
        let mut pass = Pass::new(means, Act::Preview);
        let mut failed = empty_trash(&mut pass, means, false).await.err();
        if failed.is_none() {
            failed = pass.run().await.err();
        }
        let expected = match failed {
            Some(error) => Err(error),
            None => collect.expected_manifests().await,
        };
        let stopped = match expected {
            Err(error) => Some(Stopped::Failed(error)),
            Ok(expected) => implausible(&pass, expected, options),
        };
        return Ok(CollectReport {
            stopped,
            ..pass.report
        });
    }
    let run = collect
        .begin(options.terms.with_asked(!options.automatic))
        .await?;
    let mut plan = Pass::new(means, Act::Condemn(&run));
    let stopped = match plan.run().await {
        Err(error) => Some(Stopped::Failed(error)),
        Ok(()) => implausible(&plan, run.expected_manifests(), options),
    };
    if let Some(stopped) = stopped {
        // The run ends without a census, so that the next one compares with the same numbers.
        return Ok(CollectReport {
            removed: Removed::default(),
            stopped: Some(stopped),
            ..plan.report
        });
    }
    let (wait, manifests) = (plan.wait, plan.report.manifests);
    // It has marks of everything, and the wait may take a day.
    drop(plan);
    if !wait.is_zero() {
        told(&CollectEvent::Announced { wait });
        clock.sleep(wait).await;
    }
    Ok(remove(means, run, manifests).await)
}

/// Removes what nothing refers to, and ends the run.
async fn remove(means: Means<'_>, run: Run, manifests: u64) -> CollectReport {
    let mut pass = Pass::new(means, Act::Remove(&run));
    let mut failed = empty_trash(&mut pass, means, true).await.err();
    if failed.is_none() {
        failed = pass.run().await.err();
    }
    let is_complete = failed.is_none() && !pass.keeps_unnamed && pass.report.pins.is_empty();
    let mut report = pass.report;
    let seen = if failed.is_some() {
        manifests
    } else {
        report.manifests
    };
    let census = Census::new(seen.saturating_sub(report.removed.manifests)).with_complete(is_complete);
    let ended = means.collect.end(run, census).await;
    report.stopped = failed.or_else(|| ended.err()).map(Stopped::Failed);
    report
}

/// Stops a run whose view of the storage is not plausible.
///
/// `expected` is the number of manifests that the previous run left; `None` before the first one.
fn implausible(plan: &Pass<'_>, expected: Option<u64>, options: &CollectOptions) -> Option<Stopped> {
    if options.force {
        return None;
    }
    let missing = match expected {
        Some(expected) => missing(plan, expected),
        None => no_repository(plan),
    };
    missing.or_else(|| too_much(plan, options))
}

/// Stops a run that sees far fewer manifests than the previous one left.
fn missing(plan: &Pass<'_>, expected: u64) -> Option<Stopped> {
    let found = plan.report.manifests;
    (found < expected.div_ceil(2)).then_some(Stopped::ManifestsMissing { found, expected })
}

/// Stops a first run that sees content and no repository, as without a part of the storage.
fn no_repository(plan: &Pass<'_>) -> Option<Stopped> {
    let (blobs, bytes) = (plan.blobs, plan.stored);
    (plan.report.repositories == 0 && blobs > 0).then_some(Stopped::NoRepository { blobs, bytes })
}

/// Stops a run that nobody asked for, and that would free most bytes although no deletion accounts for them.
fn too_much(plan: &Pass<'_>, options: &CollectOptions) -> Option<Stopped> {
    let (bytes, of) = (plan.unaccounted, plan.stored);
    (options.automatic && bytes > of / 2).then_some(Stopped::TooMuch { bytes, of })
}
