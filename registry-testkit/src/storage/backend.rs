//! [`Backend`]: the subject of a test case, and [`run`].

use registry_core::{Digest, storage::Storage};
use std::{any::Any, fmt, pin::Pin, sync::Arc, time::Duration};

/// Two handles on one backend, as two processes or replicas would hold them.
pub type Handles = (Arc<dyn Storage>, Arc<dyn Storage>);

/// Maximum duration of a case: only a case that hangs reaches it.
const LIMIT: Duration = Duration::from_secs(120);

/// A fresh, empty backend with two handles on it, and the means to change it from outside.
pub struct Backend {
    pub(super) first: Arc<dyn Storage>,
    pub(super) second: Arc<dyn Storage>,
    reopen: Option<Reopen>,
    damage: Option<Inflict>,
    read_only: Option<Read>,
    /// Dropped last: the handles above may still need it.
    keep: Vec<Box<dyn Any + Send + Sync>>,
}

type Reopen = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Handles> + Send>> + Send + Sync>;
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
            keep: Vec::new(),
        }
    }

    /// Keeps something alive as long as the backend is used, such as a temporary directory.
    #[must_use]
    pub fn keeping(mut self, keep: impl Any + Send + Sync) -> Self {
        self.keep.push(Box::new(keep));
        self
    }

    /// Declares the ability `restart`: opens the stored state, after every handle was dropped.
    #[must_use]
    pub fn reopening<F, R>(mut self, reopen: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Handles> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(reopen())));
        self
    }

    /// Declares the ability `damage`: damages the stored bytes of a blob, which exists and is not empty.
    #[must_use]
    pub fn damaging(mut self, damage: impl Fn(&Digest, Damage) + Send + Sync + 'static) -> Self {
        self.damage = Some(Box::new(damage));
        self
    }

    /// Declares the ability `read_only`: opens one more handle, for reading only, on everything that the others have
    /// written.
    #[must_use]
    pub fn reading(mut self, open: impl Fn() -> Arc<dyn Storage> + Send + Sync + 'static) -> Self {
        self.read_only = Some(Box::new(open));
        self
    }

    /// Returns the abilities of this backend, in alphabetical order.
    #[must_use]
    pub fn abilities(&self) -> Vec<&'static str> {
        [
            ("admin", self.first.admin().is_some()),
            ("damage", self.damage.is_some()),
            ("read_only", self.read_only.is_some()),
            ("restart", self.reopen.is_some()),
        ]
        .into_iter()
        .filter_map(|(ability, has)| has.then_some(ability))
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

    /// Returns the backend after a restart: new handles on the stored state. The caller has dropped all clones of
    /// handles.
    pub(super) async fn restarted(self) -> Self {
        let Self {
            first,
            second,
            reopen,
            damage,
            read_only,
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
            keep,
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("first", &self.first)
            .field("second", &self.second)
            .field("abilities", &self.abilities())
            .finish_non_exhaustive()
    }
}

/// Runs one case on a fresh backend.
///
/// # Panics
///
/// Panics if the case fails or hangs, which reports the failure.
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

/// Asserts that the declared abilities are those of the backend: none is missing, none is added.
///
/// # Panics
///
/// Panics if they are not.
#[doc(hidden)]
pub fn assert_abilities(factory: impl AsyncFnOnce() -> Backend, declared: &[&str]) {
    run(factory, async |backend: Backend| {
        let mut declared = declared.to_vec();
        declared.sort_unstable();
        assert_eq!(declared, backend.abilities());
    });
}
