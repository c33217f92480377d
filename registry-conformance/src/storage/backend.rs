//! [`Backend`]: the subject of a test case, and [`run`].

use registry_core::{Digest, storage::Storage};
use std::{any::Any, fmt, pin::Pin, sync::Arc, time::Duration};

/// Two handles on one backend, as two processes or replicas would hold them.
pub type Handles = (Arc<dyn Storage>, Arc<dyn Storage>);

/// Maximum duration of a case: only a case that hangs reaches it.
const LIMIT: Duration = Duration::from_secs(120);

/// A fresh, empty backend with two handles on it, and the means to change it from outside.
///
/// ```
/// use registry_conformance::storage::Backend;
/// use registry_core::storage::{MemoryStorage, Storage};
/// use std::sync::Arc;
///
/// // This storage stands for one on a disk, whose content outlives its handles.
/// let disk = MemoryStorage::new();
/// let open = move || Arc::new(disk.clone()) as Arc<dyn Storage>;
///
/// let backend = Backend::new(open(), open()).reopening(move || {
///     let handles = (open(), open());
///     async move { handles }
/// });
/// assert_eq!(backend.means(), ["collect", "expire", "health", "inspect", "repair", "restart", "trash"]);
/// ```
pub struct Backend {
    pub(super) first: Arc<dyn Storage>,
    pub(super) second: Arc<dyn Storage>,
    reopen: Option<Reopen>,
    damage: Option<Inflict>,
    read_only: Option<Read>,
    rival: Option<Rival>,
    /// Dropped last: the handles above may still need it.
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

type Reopen = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Handles> + Send>> + Send + Sync>;
type Rival = Box<dyn Fn() -> bool + Send + Sync>;
type Read = Box<dyn Fn() -> Arc<dyn Storage> + Send + Sync>;
type Inflict = Box<dyn Fn(&Digest, Damage) + Send + Sync>;

/// Damage to the stored bytes of a blob, done without the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// No byte is left: a file of 0 bytes.
    Emptied,
    /// The second half is gone.
    Truncated,
    /// One byte is changed; the size is right.
    Flipped,
}

impl Backend {
    /// Returns a backend with two handles. Clones of one handle suffice if a backend allows no more.
    #[must_use]
    pub fn new(first: Arc<dyn Storage>, second: Arc<dyn Storage>) -> Self {
        Self {
            first,
            second,
            reopen: None,
            damage: None,
            read_only: None,
            rival: None,
            keep: Vec::new(),
        }
    }

    /// Keeps something alive as long as the backend is used, such as a temporary directory.
    #[must_use]
    pub fn keeping(mut self, keep: impl Any + Send + Sync) -> Self {
        self.keep.push(Box::new(keep));
        self
    }

    /// Declares the means `restart`: opens the stored state, after every handle was dropped.
    #[must_use]
    pub fn reopening<F, R>(mut self, reopen: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Handles> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(reopen())));
        self
    }

    /// Declares the means `damage`: damages the stored bytes of a blob, which exists and is not empty.
    #[must_use]
    pub fn damaging(mut self, damage: impl Fn(&Digest, Damage) + Send + Sync + 'static) -> Self {
        self.damage = Some(Box::new(damage));
        self
    }

    /// Declares the means `read_only`: opens one more handle, for reading only, on everything that the others have
    /// written.
    #[must_use]
    pub fn reading(mut self, open: impl Fn() -> Arc<dyn Storage> + Send + Sync + 'static) -> Self {
        self.read_only = Some(Box::new(open));
        self
    }

    /// Tries to open the stored state for writing, as another process would, while the handles are open. Returns true
    /// if that succeeded. A backend that declares [`exclusive`](registry_core::storage::Abilities::exclusive) and
    /// can be [reopened](Self::reopening) needs it.
    #[must_use]
    pub fn rivalled(mut self, open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.rival = Some(Box::new(open));
        self
    }

    /// Returns the means of this backend, in alphabetical order.
    #[must_use]
    pub fn means(&self) -> Vec<&'static str> {
        [
            ("collect", self.first.collect().is_some()),
            ("damage", self.damage.is_some()),
            ("expire", self.first.expire().is_some()),
            ("health", self.first.health().is_some()),
            ("inspect", self.first.inspect().is_some()),
            ("read_only", self.read_only.is_some()),
            ("repair", self.first.repair().is_some()),
            ("restart", self.reopen.is_some()),
            ("trash", self.first.trash().is_some()),
        ]
        .into_iter()
        .filter_map(|(means, has)| has.then_some(means))
        .collect()
    }

    pub(super) fn inflict(&self, damage: Damage, digest: &Digest) {
        let inflict = self.damage.as_ref();
        inflict.expect("a backend that declares `damage` has `damaging`")(digest, damage);
    }

    pub(super) fn read_only(&self) -> Arc<dyn Storage> {
        let open = self.read_only.as_ref();
        open.expect("a backend that declares `read_only` has `reading`")()
    }

    /// Returns a handle for continuing sessions of the first one: another one, if these are shared.
    pub(super) fn sharing(&self) -> &Arc<dyn Storage> {
        if self.first.abilities().shared_sessions {
            &self.second
        } else {
            &self.first
        }
    }

    /// Returns true if another process could open the backend, or `None` if there is no other.
    pub(super) fn rival(&self) -> Option<bool> {
        self.rival.as_ref().map(|open| open())
    }

    /// Returns true if the state outlives the handles.
    pub(super) const fn restarts(&self) -> bool {
        self.reopen.is_some()
    }

    /// Returns the backend after a restart: new handles on the stored state. The caller has dropped all clones of
    /// handles.
    pub(super) async fn restarted(self) -> Self {
        let Self {
            first,
            second,
            reopen,
            damage,
            read_only,
            rival,
            keep,
        } = self;
        drop((first, second));
        let open = reopen
            .as_ref()
            .expect("a backend that declares `restart` has `reopening`");
        let (first, second) = open().await;
        Self {
            first,
            second,
            reopen,
            damage,
            read_only,
            rival,
            keep,
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("first", &self.first)
            .field("second", &self.second)
            .field("abilities", &self.first.abilities())
            .field("means", &self.means())
            .finish_non_exhaustive()
    }
}

/// Runs one case on a fresh backend.
///
/// # Panics
///
/// Panics if the case fails or hangs.
pub fn run(factory: impl AsyncFnOnce() -> Backend, case: impl AsyncFnOnce(Backend)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a test can start threads");
    runtime.block_on(async {
        let ended = tokio::time::timeout(LIMIT, async { case(factory().await).await }).await;
        assert!(ended.is_ok(), "the case hangs");
    });
}

/// Asserts that the declared means are those of the backend: none is missing, none is added.
///
/// # Panics
///
/// Panics if they are not.
#[doc(hidden)]
pub fn assert_means(factory: impl AsyncFnOnce() -> Backend, declared: &[&str]) {
    run(factory, async |backend: Backend| {
        let mut declared = declared.to_vec();
        declared.sort_unstable();
        assert_eq!(declared, backend.means());
    });
}
