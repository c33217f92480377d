//! [`RulesFile`]: rules that follow their file.

use crate::{rules::Rules, yaml::InvalidRules};
use async_trait::async_trait;
use registry_core::{
    Authorizer, Identity, RepositoryName,
    auth::{Access, AuthError, Decision},
};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

/// How often [`RulesFile::watch`] looks at the file.
const PERIOD: Duration = Duration::from_secs(1);

/// Far more than anybody writes; what is larger is another file.
const MAX_BYTES: u64 = 16 << 20;

/// Rules from a file. Clones are handles on the same rules.
///
/// The host drives [`watch`](Self::watch), or calls [`look`](Self::look) when it likes; until then nothing is read
/// again. A file that is broken or gone leaves the rules as they were.
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

/// What the file held the last time. Its whole content: times and sizes miss a second change within a clock tick.
#[derive(Debug)]
struct Seen {
    content: Content,
    /// Whether it is what the rules were made of, or was found to be no rules.
    judged: bool,
}

/// The text, or why there is none.
type Content = Result<String, String>;

/// What a look at the file comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Look {
    /// It is as it was.
    Unchanged,
    /// It has changed since the last look, and may still be being written: it counts if the next look finds the same.
    Changing,
    /// The rules are now those of the file.
    Reloaded,
    /// The file holds no rules any more, for this reason; those from before still count.
    Kept(String),
}

/// Why rules could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file could not be read.
    #[error("cannot read the access rules {}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// As the system says it.
        reason: String,
    },
    /// The file holds no rules.
    #[error(transparent)]
    Invalid(#[from] InvalidRules),
}

impl RulesFile {
    /// Opens and reads a file of rules.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the file, and the line where it holds no rules.
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

    /// The rules that count now.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        let rules = self.inner.rules.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&rules)
    }

    /// Looks at the file, and takes its rules if it has changed and then stayed the same between two looks. Blocks for
    /// as long as reading it takes.
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

    /// Looks at the file every second, for ever, and logs what becomes of it. To be driven by the host.
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

/// Whether a text file is UTF-16, with a mark or without: half of its first bytes are zero, each second one.
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
    async fn authorize(&self, who: Option<&Identity>, access: &Access) -> Result<Decision, AuthError> {
        self.rules().authorize(who, access).await
    }

    async fn visible(
        &self,
        who: Option<&Identity>,
        repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        self.rules().visible(who, repositories).await
    }
}
