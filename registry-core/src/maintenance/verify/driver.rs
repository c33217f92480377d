//! [`verify`]: one verification, from the content to its report.

use super::{
    options::{PAGE, VerifyOptions},
    repository,
    run::{Run, VerifyEvent, VerifyReport},
};
use crate::{
    maintenance::repositories::Remembered,
    name::RepositoryName,
    storage::{Page, Seen, Storage, StorageError},
};

/// Verifies a storage, beside traffic, and passes each finding to `told`.
///
/// Without [`VerifyOptions::repair`] it changes nothing. What changes while it runs is looked at twice, so that a push
/// or a deletion is not taken for damage.
///
/// Repairs do what [`Finding::remedy`](super::Finding::remedy) says and nothing else. Nothing is repaired if
/// [too much](VerifyOptions::force) is corrupt, since the cause is then likely the machine.
///
/// ```
/// use registry_core::{Registry, maintenance::{VerifyEvent, VerifyOptions, verify}, storage::MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let registry = Registry::builder(storage.clone()).build();
/// registry.repository("team/app")?.push_blob("layer", None).await?;
///
/// let report = verify(&storage, VerifyOptions::new(), &mut |event| {
///     if let VerifyEvent::Finding(finding) = event {
///         println!("{finding}");
///     }
/// })
/// .await?;
/// assert_eq!((report.blobs, report.wrong), (1, 0));
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Safe: a dropped call stops between two steps. Repairs that it has made stay.
///
/// # Errors
///
/// - [`StorageError::Unsupported`] if the storage cannot be inspected or repaired.
/// - Any other error if everything stored cannot be listed. What cannot be read in one place is a finding. What is
///   [unavailable](StorageError::Unavailable) is read up to 3 times, because the storage as a whole may not have worked.
pub async fn verify(
    storage: &dyn Storage,
    options: VerifyOptions<'_>,
    told: &mut (dyn FnMut(VerifyEvent<'_>) + Send),
) -> Result<VerifyReport, StorageError> {
    let mut run = Run::begin(storage, options, told)?;
    run.read_contents().await?;
    let walked = verify_repositories(&mut run).await;
    // Also after an outage: it was read before.
    run.report_contents().await;
    walked?;
    run.compare_with_census().await?;
    Ok(run.report)
}

/// Verifies all repositories, and those of which only histories are left.
async fn verify_repositories(run: &mut Run<'_>) -> Result<(), StorageError> {
    let mut remembered = Remembered::of(run.storage.trash());
    let mut after: Option<RepositoryName> = None;
    loop {
        let page = Page::first(PAGE).after(after.as_ref());
        let listed = run.inspect.all_repositories(page).await?;
        for seen in &listed.items {
            verify_gone(run, &mut remembered, Some(seen.key())).await?;
            run.report.repositories += 1;
            match seen {
                Seen::Whole(name) => repository::verify(run, name).await?,
                Seen::Unreadable { key, reason } => run.unreadable_repository(key, reason.clone()),
            }
            run.progress();
        }
        after = listed.items.last().map(|last| last.key().clone());
        if !listed.more {
            break;
        }
    }
    verify_gone(run, &mut remembered, None).await
}

/// Verifies the repositories that do not exist, up to the next one that exists.
async fn verify_gone(
    run: &mut Run<'_>,
    remembered: &mut Remembered<'_>,
    existing: Option<&RepositoryName>,
) -> Result<(), StorageError> {
    while let Some(name) = remembered.before(existing).await? {
        repository::verify_gone(run, &name).await?;
    }
    Ok(())
}
