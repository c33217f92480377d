//! [`RulesFile`]: rules that are reloaded when their file changes.

use crate::{rules::Rules, yaml::InvalidRules};
use async_trait::async_trait;
use registry_core::{
    Authorizer, RepositoryName,
    auth::{AuthError, Authorize, Decision},
};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

/// Interval at which [`RulesFile::watch`] checks the file.
const PERIOD: Duration = Duration::from_secs(1);

/// Maximum size of the file, far more than a file of rules needs.
const MAX_BYTES: u64 = 16 << 20;

/// Rules from a file. Clones are handles on the same rules.
///
/// The host drives [`watch`](Self::watch), or calls [`look`](Self::look) itself; without that, the file is not read
/// again. If the file becomes invalid or missing, the previous rules stay in force.
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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    rules: RwLock<Arc<Rules>>,
    seen: Mutex<Seen>,
}

/// Last content of the file. It is kept whole: times and sizes miss a second change within a clock tick.
#[derive(Debug)]
struct Seen {
    content: Content,
    /// True if the rules were made from this content, or if it was found to be invalid.
    judged: bool,
}

/// Text of the file, or the reason why it could not be read.
type Content = Result<String, String>;

/// Result of a check of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Look {
    /// The file has not changed.
    Unchanged,
    /// The file has changed since the last check, and may still be written. It is loaded if the next check finds the
    /// same content.
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
        let path = path.into();
        let content = read(&path);
        let rules = parse(&path, &content)?;
        let seen = Seen {
            content,
            judged: true,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                rules: RwLock::new(Arc::new(rules)),
                seen: Mutex::new(seen),
            }),
        })
    }

    /// Returns the rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        let rules = self.inner.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// Checks the file, and loads its rules if it has changed and then stayed the same between two checks. Blocks while
    /// the file is read.
    #[must_use]
    pub fn look(&self) -> Look {
        let content = read(&self.inner.path);
        let mut seen = self.seen();
        if seen.content != content {
            *seen = Seen {
                content,
                judged: false,
            };
            return Look::Changing;
        }
        if seen.judged {
            return Look::Unchanged;
        }
        seen.judged = true;
        match parse(&self.inner.path, &content) {
            Ok(rules) => {
                *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
                Look::Reloaded
            }
            Err(error) => Look::Kept(error.to_string()),
        }
    }

    /// Checks the file every second, without end, and logs the results. The host has to drive this future.
    pub async fn watch(&self) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            let file = self.clone();
            // The task is lost only when the runtime ends.
            let Ok(look) = tokio::task::spawn_blocking(move || file.look()).await else {
                return;
            };
            self.tell(&look);
        }
    }

    fn tell(&self, look: &Look) {
        let file = self.inner.path.display();
        match look {
            Look::Unchanged | Look::Changing => {}
            Look::Reloaded => {
                let rules = self.rules();
                tracing::info!(%file, rules = rules.rules().len(), "the access rules were read again");
                for warning in rules.warnings() {
                    tracing::warn!("access rules: {warning}");
                }
            }
            Look::Kept(reason) => {
                tracing::error!(%file, "the access rules have changed and cannot be used, the old ones still count: {reason}");
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Content {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("too large for access rules"));
        }
        if is_utf16(&bytes) {
            return Err(io::Error::other("this file is UTF-16: save it as UTF-8"));
        }
        String::from_utf8(bytes).map_err(|error| {
            let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = line.filter(|byte| **byte == b'\n').count() + 1;
            io::Error::other(format!("line {line}: this file is not UTF-8: save it as UTF-8"))
        })
    };
    read().map_err(|error| error.to_string())
}

/// Returns true if a text file is UTF-16, by its byte order mark or because every second of the first bytes is mostly
/// zero.
fn is_utf16(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return true;
    }
    let pairs = bytes
        .get(..bytes.len().min(64))
        .unwrap_or_default()
        .chunks_exact(2);
    let half = pairs.len().div_ceil(2);
    let zeros = |place: usize| pairs.clone().filter(|pair| pair.get(place) == Some(&0)).count();
    let (first, second) = (zeros(0), zeros(1));
    half > 0 && ((first >= half && second == 0) || (second >= half && first == 0))
}

fn parse(path: &Path, content: &Content) -> Result<Rules, OpenError> {
    match content {
        Ok(text) => Ok(Rules::parse(text, &path.display().to_string())?),
        Err(reason) => Err(OpenError::Unreadable {
            path: path.to_owned(),
            reason: reason.clone(),
        }),
    }
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
