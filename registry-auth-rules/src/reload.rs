//! [`RulesFile`]: rules that are reloaded when their file changes.

use crate::{rules::Rules, yaml::InvalidRules};
use async_trait::async_trait;
use registry_core::{
    Authorizer, RepositoryName,
    auth::{AuthError, Authorize, Decision},
};
use registry_reload::{Change, Files, Followed, NotUtf8, Reading, utf8};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Interval at which [`RulesFile::watch`] checks the file.
const PERIOD: Duration = Duration::from_secs(1);

/// Time for which a changed file must stay the same before it is loaded: a program may still be writing it. A part of a
/// file can be valid, and lack the denials at its end.
const SETTLED: Duration = Duration::from_millis(200);

/// Maximum size of the file, far more than a file of rules needs.
const MAX_BYTES: u64 = 16 << 20;

/// Rules from a file. Clones are handles on the same rules.
///
/// The host drives [`watch`](Self::watch), or calls [`check_now`](Self::check_now) itself; without that, the file is
/// not read again. If the file becomes invalid or missing, the previous rules stay in force.
///
/// ```no_run
/// use registry_auth_rules::RulesFile;
/// use registry_core::{Registry, storage::MemoryStorage};
///
/// # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
/// let rules = RulesFile::open("rules.yml")?;
/// let watcher = rules.clone();
/// tokio::spawn(async move { watcher.watch().await });
///
/// let registry = Registry::builder(MemoryStorage::new()).authorizer(rules).build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RulesFile {
    path: Arc<Path>,
    followed: Arc<Followed<Rules>>,
}

/// Result of a check of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileCheck {
    /// The file has not changed.
    Unchanged,
    /// The file has changed, and may still be written. It is loaded by the first check that finds the same content at
    /// least 200 ms later.
    Changing,
    /// The rules were reloaded from the file.
    Reloaded,
    /// The file is invalid or missing, for this reason. The previous rules stay in force.
    Kept(String),
}

/// Reason why rules could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file could not be read.
    #[error("cannot read the access rules {}: {reason}", .path.display())]
    #[non_exhaustive]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Message of the system.
        reason: String,
    },
    /// The file holds no valid rules.
    #[error(transparent)]
    Invalid(#[from] InvalidRules),
}

impl RulesFile {
    /// Opens and reads a file of rules.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file, and the line of the fault if its content is invalid.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path: Arc<Path> = path.into().into();
        let followed = Followed::open(Files::new([&*path], MAX_BYTES), |reading| load(&path, reading))?;
        let followed = Arc::new(followed.settling(SETTLED));
        Ok(Self { path, followed })
    }

    /// Returns the rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.followed.current()
    }

    /// Checks the file, and loads its rules if it has changed and then stayed the same for 200 ms between two checks,
    /// however many checks are made meanwhile. Blocks while the file is read.
    #[must_use]
    pub fn check_now(&self) -> FileCheck {
        let load = |reading, _: &Arc<Rules>| load(&self.path, reading).map(Arc::new);
        match self.followed.check(Instant::now().into_std(), load) {
            Change::Settling => FileCheck::Changing,
            Change::Loaded(_) => FileCheck::Reloaded,
            Change::Failed(error) => FileCheck::Kept(error.to_string()),
            Change::Panicked(message) => FileCheck::Kept(format!(
                "the check of {} panicked: {message}",
                self.path.display()
            )),
            _ => FileCheck::Unchanged,
        }
    }

    /// Checks the file every second, without end, and logs the results. The host has to drive this future.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future ends the checks, and the rules in use stay.
    pub async fn watch(&self) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            let file = self.clone();
            match tokio::task::spawn_blocking(move || file.check_now()).await {
                Ok(check) => self.log(&check),
                // The panic was reported; the next check may succeed.
                Err(error) if error.is_panic() => {}
                Err(_) => return,
            }
        }
    }

    fn log(&self, check: &FileCheck) {
        let file = self.path.display();
        match check {
            FileCheck::Unchanged | FileCheck::Changing => {}
            FileCheck::Reloaded => {
                let rules = self.rules();
                tracing::info!(%file, rules = rules.rules().len(), "the access rules were reloaded");
                for warning in rules.warnings() {
                    tracing::warn!("access rules: {warning}");
                }
            }
            FileCheck::Kept(reason) => {
                tracing::error!(
                    %file,
                    "the access rules have changed and cannot be used, the previous rules stay in effect: {reason}"
                );
            }
        }
    }
}

fn load(path: &Path, reading: Reading) -> Result<Rules, OpenError> {
    let unreadable = |reason| OpenError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let contents = reading.map_err(|error| unreadable(error.source.to_string()))?;
    let text = utf8(contents.concat()).map_err(|error| {
        unreadable(match error {
            NotUtf8::Invalid { line } => format!("line {line}: {error}"),
            _ => error.to_string(),
        })
    })?;
    Ok(Rules::parse(&text, &path.display().to_string())?)
}

#[async_trait]
impl Authorizer for RulesFile {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        self.rules().authorize(ask).await
    }

    async fn visible(
        &self,
        ask: Authorize<'_>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        self.rules().visible(ask, repositories).await
    }
}
