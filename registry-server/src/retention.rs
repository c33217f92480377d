//! Rules of retention: `storage.maintenance.retention`.

use crate::{access, clock::ServerClock, config::retention_rules, denied, tasks::Tasks};
use registry_auth_rules::RulesFile;
use registry_core::{
    Action, Registry, RepositoryName, Tag,
    maintenance::{
        Notes,
        retention::{Recurring, Rules},
    },
};
use registry_reload::{Change, Files, Followed, NotUtf8, Reading, utf8};
use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};

/// Interval at which the file is checked.
const PERIOD: Duration = Duration::from_secs(1);
/// Time for which a changed file must stay the same before it is loaded: a program may still be writing it.
const SETTLED: Duration = Duration::from_millis(200);
/// Maximum size of the file.
const MAX_BYTES: u64 = 1 << 20;

/// `storage.maintenance.retention`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// File of rules; without one, every tag is kept.
    pub(crate) rules: Option<PathBuf>,
    /// Time between two runs.
    pub(crate) interval: Duration,
}

/// Rules of retention from a file, which are reloaded when it changes. Clones are handles on the same rules.
#[derive(Clone, Debug)]
pub(crate) struct RetentionFile {
    path: Arc<Path>,
    followed: Arc<Followed<Rules>>,
}

impl RetentionFile {
    /// Opens and reads a file of rules.
    pub(crate) fn open(path: &Path) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let followed = Followed::open(Files::new([path], MAX_BYTES), |reading| load(path, reading));
        let followed = followed.map_err(|error| {
            format!(
                "storage.maintenance.retention.rules: {error}{}",
                denied::hint(path)
            )
        })?;
        Ok(Self {
            path: path.into(),
            followed: Arc::new(followed.settling(SETTLED)),
        })
    }

    /// Returns the rules in force.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.followed.current()
    }

    /// Checks the file every second, without end, and logs the results.
    async fn watch(&self) {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            let file = self.clone();
            match tokio::task::spawn_blocking(move || file.check()).await {
                Ok(()) => {}
                // The panic was reported; the next check may succeed.
                Err(error) if error.is_panic() => {}
                Err(_) => return,
            }
        }
    }

    fn check(&self) {
        let file = self.path.display();
        let load = |reading, _: &Arc<Rules>| load(&self.path, reading).map(Arc::new);
        let kept = match self.followed.check(Instant::now(), load) {
            Change::Loaded(_) => {
                let rules = self.rules().rules().len();
                tracing::info!(%file, rules, "the rules of retention were reloaded");
                return;
            }
            Change::Failed(error) => error,
            Change::Panicked(message) => format!("the check panicked: {message}"),
            _ => return,
        };
        tracing::error!(
            %file,
            "the rules of retention have changed and cannot be used, the previous rules stay in effect: {kept}"
        );
    }
}

/// Reads the rules. A message names the file, and the line and key of a mistake.
fn load(path: &Path, reading: Reading) -> Result<Rules, String> {
    retention_rules(&text(path, reading)?, path).map_err(|problem| problem.to_string())
}

fn text(path: &Path, reading: Reading) -> Result<String, String> {
    let contents = reading.map_err(|error| format!("cannot read {}: {}", path.display(), error.source))?;
    utf8(contents.concat()).map_err(|error| match error {
        NotUtf8::Invalid { line } => format!("{}:{line}: {error}", path.display()),
        _ => format!("{}: {error}", path.display()),
    })
}

/// Reads a file of rules, for an operation that gets its contents.
pub(crate) fn text_of(path: &Path) -> Result<String, String> {
    text(path, Files::new([path], MAX_BYTES).read()).map_err(|error| format!("{error}{}", denied::hint(path)))
}

/// Tags that nobody may overwrite, by the rules of access.
#[derive(Clone, Debug)]
pub(crate) enum Immutable {
    /// Everybody who may push may overwrite.
    None,
    /// All tags of repositories in which no rule allows to overwrite.
    ByRules(RulesFile),
    /// The host decides, and cannot be asked about all users at once. So no tag counts as one that may be overwritten.
    Unknown,
}

impl Immutable {
    /// Reads the file of access rules, if a configuration has one.
    pub(crate) fn of(rules: Option<&Path>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(match rules {
            Some(rules) => Self::ByRules(access::open(rules)?),
            None => Self::None,
        })
    }

    pub(crate) fn contains(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::None => false,
            Self::ByRules(file) => !file.rules().allow_anyone(Action::Overwrite, repository),
            Self::Unknown => true,
        }
    }
}

/// Follows the file of rules, and applies them at intervals, with this grace period for manifests.
pub(crate) fn follow(
    file: RetentionFile,
    (every, grace): (Duration, Duration),
    registry: Registry,
    immutable: Immutable,
    notes: Arc<dyn Notes>,
    tasks: &mut Tasks,
) {
    let followed = file.clone();
    tasks.repeat("retention rules", move || {
        let file = followed.clone();
        async move { file.watch().await }
    });
    tasks.repeat("retention", move || {
        let (file, immutable) = (file.clone(), immutable.clone());
        let (registry, notes) = (registry.clone(), Arc::clone(&notes));
        async move {
            let rules = move || file.rules();
            let is_immutable = move |repository: &RepositoryName, _: &Tag| immutable.contains(repository);
            let recurring = Recurring::new(&registry, &rules, &*notes)
                .immutable(&is_immutable)
                .every(every)
                .grace(grace);
            recurring.run(&ServerClock::start()).await
        }
    });
}
