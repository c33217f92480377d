//! [`Pauses`]: points of the work at which a test intervenes.
//!
//! Without `cfg(test)` they do nothing.

#[cfg(test)]
pub(crate) use self::acting::Pauses;

#[cfg(not(test))]
pub(crate) use self::idle::Pauses;

macro_rules! points {
    ($($point:ident,)*) => {
        /// A point of the work, mostly between two steps that change the disk. A test kills a process at each of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Point {
            $($point,)*
        }

        #[cfg(test)]
        impl Point {
            /// All points.
            pub(crate) const ALL: &[Self] = &[$(Self::$point,)*];
        }
    };
}

points! {
    AppendWritten,
    BlobPromised,
    CheckReadOnce,
    CommitClaimed,
    CommitDataPublished,
    CommitDurable,
    CommitLinked,
    DeleteBlobLinkRemoved,
    DeleteManifestDurable,
    DeleteManifestLinkRemoved,
    DeleteManifestLocked,
    DeleteManifestRecorded,
    DeleteTagRecorded,
    EndRunSettled,
    ForgetDeletionAccounted,
    ForgetDeletionRemoved,
    HistoryForgotten,
    HistoryShortened,
    ManifestInMemory,
    ManifestPromised,
    ManifestScanRead,
    MendLinkStaged,
    MendLinkWritten,
    MountLinked,
    PutManifestDurable,
    PutManifestEntryAdded,
    PutManifestLinked,
    PutManifestPromised,
    PutManifestStored,
    QuarantineExplained,
    QuarantineMoved,
    QuarantineReserved,
    QuarantinedItemRemoved,
    ReclaimBegun,
    ReclaimFileRemoved,
    ReclaimLocked,
    ReclaimManifestLinkRemoved,
    ReclaimManifestRecorded,
    ReclaimRemoved,
    ReclaimRepositoryPartRemoved,
    ReferrerIndexManifestsRead,
    RunBegun,
    SessionRecordsListed,
    TagDiscarded,
    TagIndexBegun,
    TagIndexRead,
    TagMoved,
    TagTargetAdded,
    UploadEnded,
    UploadStaged,
}

#[cfg(not(test))]
mod idle {
    use super::Point;

    #[derive(Debug, Default)]
    pub(crate) struct Pauses(());

    impl Pauses {
        /// Records that the work has reached a point.
        #[expect(
            clippy::unused_self,
            reason = "the same call as in tests, where it looks up the point"
        )]
        pub(crate) const fn reach(&self, _: Point) {}
    }
}

#[cfg(test)]
mod acting {
    use super::Point;
    use std::{
        collections::{BTreeMap, HashMap},
        fmt,
        sync::{Mutex, MutexGuard, PoisonError},
    };

    /// Actions of a test when the work reaches a point, each once, and counts of how often it does.
    #[derive(Default)]
    pub(crate) struct Pauses(Mutex<State>);

    #[derive(Default)]
    struct State {
        planned: HashMap<Point, Planned>,
        passed: BTreeMap<Point, usize>,
    }

    struct Planned {
        /// Number of times that the work passes the point before.
        passes: usize,
        act: Box<dyn FnOnce() + Send>,
    }

    impl State {
        /// Counts a pass. Returns the action that is due then.
        fn pass(&mut self, point: Point) -> Option<Planned> {
            *self.passed.entry(point).or_default() += 1;
            let next = self.planned.get_mut(&point)?;
            if next.passes > 0 {
                next.passes -= 1;
                return None;
            }
            self.planned.remove(&point)
        }
    }

    impl Pauses {
        /// Plans an action for the next time that the work reaches a point.
        pub(crate) fn at(&self, point: Point, act: impl FnOnce() + Send + 'static) {
            self.after(point, 0, act);
        }

        /// Does the same after the work has passed the point so often.
        pub(crate) fn after(&self, point: Point, passes: usize, act: impl FnOnce() + Send + 'static) {
            let act = Box::new(act);
            self.lock().planned.insert(point, Planned { passes, act });
        }

        pub(crate) fn reach(&self, point: Point) {
            let due = self.lock().pass(point);
            if let Some(Planned { act, .. }) = due {
                act();
            }
        }

        /// Returns how often the work has reached each point since the last call.
        pub(crate) fn take_passed(&self) -> BTreeMap<Point, usize> {
            std::mem::take(&mut self.lock().passed)
        }

        fn lock(&self) -> MutexGuard<'_, State> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    impl fmt::Debug for Pauses {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Pauses").finish_non_exhaustive()
        }
    }
}
