//! [`On`]: selection of calls, and the rules of a storage.

use super::fault::Fault;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Plane of the storage contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is a module of the contract")]
pub enum Plane {
    Read,
    Write,
    Inspect,
    Expire,
    Collect,
    Repair,
    Health,
    Trash,
}

/// The calls of each plane.
const CALLS: [(Plane, &[&str]); 8] = [
    (
        Plane::Read,
        &[
            "blob",
            "open_blob",
            "manifest",
            "tags",
            "referrers",
            "repositories",
            "holders",
        ],
    ),
    (
        Plane::Write,
        &[
            "open_upload",
            "upload",
            "append",
            "rehash",
            "commit",
            "cancel",
            "mount",
            "put_manifest",
            "delete_tag",
            "delete_manifest",
            "delete_blob",
        ],
    ),
    (
        Plane::Inspect,
        &[
            "all_repositories",
            "blobs",
            "held_blobs",
            "manifests",
            "document",
            "tag_targets",
            "tags_of",
            "uploading",
            "uploads",
        ],
    ),
    (Plane::Expire, &["expire_upload"]),
    (
        Plane::Collect,
        &[
            "expected_manifests",
            "begin",
            "due",
            "released",
            "condemn",
            "reclaim",
            "end",
            "suspects",
        ],
    ),
    (
        Plane::Repair,
        &[
            "check",
            "quarantine",
            "quarantined",
            "remove_quarantined",
            "faults",
            "fault",
            "mend",
            "saved_progress",
            "save_progress",
        ],
    ),
    (Plane::Health, &["probe", "space", "accepts_uploads"]),
    (
        Plane::Trash,
        &[
            "with_deleted",
            "deleted",
            "deleted_document",
            "forget",
            "with_histories",
            "forget_history",
            "with_history",
            "history",
            "lost_tags",
        ],
    ),
];

/// Returns the plane and the name of a call.
fn call_named(name: &str) -> Option<(Plane, &'static str)> {
    let all = CALLS
        .iter()
        .flat_map(|(plane, calls)| calls.iter().map(move |call| (*plane, *call)));
    all.into_iter().find(|(_, call)| *call == name)
}

/// Returns the name of a call of the contract.
fn known(name: &str) -> &'static str {
    match call_named(name) {
        Some((_, call)) => call,
        None => {
            panic!("no call of a storage is named `{name}`; use a name of the traits, such as `put_manifest`")
        }
    }
}

/// Selects calls of the storage: by default, the first one that is made after the rule was added.
///
/// ```
/// use registry_conformance::faulty::{On, Plane};
///
/// let first_commit = On::call("commit");
/// let third_append = On::call("append").nth(3);
/// let two_reads = On::plane(Plane::Read).first(2);
/// let everything = On::any().always();
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct On {
    calls: Calls,
    /// Numbers of the calls, from 1, end exclusive.
    from: usize,
    to: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Calls {
    Any,
    Plane(Plane),
    Named(&'static str),
}

impl On {
    /// Selects calls by name: that of the method in the contract, such as `put_manifest`.
    ///
    /// # Panics
    ///
    /// If no call of a storage has this name.
    pub fn call(name: &str) -> Self {
        Self::the_first(Calls::Named(known(name)))
    }

    /// Selects all calls of a plane.
    pub const fn plane(plane: Plane) -> Self {
        Self::the_first(Calls::Plane(plane))
    }

    /// Selects all calls.
    pub const fn any() -> Self {
        Self::the_first(Calls::Any)
    }

    const fn the_first(calls: Calls) -> Self {
        Self {
            calls,
            from: 1,
            to: Some(2),
        }
    }

    /// Selects only the call with this number, counted from 1.
    pub const fn nth(self, number: usize) -> Self {
        Self {
            from: number,
            to: Some(number.saturating_add(1)),
            ..self
        }
    }

    /// Selects this number of calls, from the first one on.
    pub const fn first(self, number: usize) -> Self {
        Self {
            from: 1,
            to: Some(number.saturating_add(1)),
            ..self
        }
    }

    /// Selects each call.
    pub const fn always(self) -> Self {
        Self {
            from: 1,
            to: None,
            ..self
        }
    }

    fn names(&self, name: &str) -> bool {
        match self.calls {
            Calls::Any => true,
            Calls::Named(call) => call == name,
            Calls::Plane(plane) => call_named(name).is_some_and(|(of, _)| of == plane),
        }
    }

    fn numbers(&self, number: usize) -> bool {
        self.from <= number && self.to.is_none_or(|end| number < end)
    }
}

/// Rules of a storage, in the order in which they were added, and the number of its calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    rules: Vec<Rule>,
    added: usize,
    calls: BTreeMap<&'static str, usize>,
}

#[derive(Debug)]
struct Rule {
    id: usize,
    on: On,
    fault: Fault,
    /// Number of calls that it names.
    seen: usize,
    /// Number of calls to which the fault was applied.
    fired: usize,
}

impl Rules {
    pub(super) fn add(&self, on: On, fault: Fault) -> Injected {
        let mut inner = self.inner();
        inner.added += 1;
        let id = inner.added;
        inner.rules.push(Rule {
            id,
            on,
            fault,
            seen: 0,
            fired: 0,
        });
        Injected {
            rules: self.clone(),
            id,
        }
    }

    pub(super) fn clear(&self) {
        self.inner().rules.clear();
    }

    pub(super) fn count(&self, call: &str) -> usize {
        let name = known(call);
        self.inner().calls.get(name).copied().unwrap_or_default()
    }

    /// Counts a call, and returns the faults for it, with their rules.
    pub(super) fn of(&self, call: &'static str) -> Vec<(Injected, Fault)> {
        let mut inner = self.inner();
        *inner.calls.entry(known(call)).or_default() += 1;
        let named = inner.rules.iter_mut().filter(|rule| rule.on.names(call));
        let applied = named.filter_map(|rule| {
            rule.seen += 1;
            let injected = Injected {
                rules: self.clone(),
                id: rule.id,
            };
            let applies = rule.on.numbers(rule.seen);
            applies.then(|| (injected, rule.fault.clone()))
        });
        applied.collect()
    }

    pub(super) fn assert_fired(&self) {
        let inner = self.inner();
        let silent = inner.rules.iter().find(|rule| rule.fired == 0);
        let message = silent.map(|rule| {
            let Rule { on, fault, .. } = rule;
            let calls = &inner.calls;
            format!(
                "{on:?} never applied {fault:?}; remove the rule, or check its calls: there were {calls:?}"
            )
        });
        // Ends the lock before a panic.
        drop(inner);
        if let Some(message) = message {
            panic!("{message}");
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rule that was added to a storage. Dropping this does not remove it.
#[derive(Clone)]
pub struct Injected {
    rules: Rules,
    id: usize,
}

impl Injected {
    /// Returns the number of calls to which the fault was applied, or 0 after the rule was removed. A call that an earlier
    /// rule has failed is not one of them.
    #[must_use]
    pub fn fired(&self) -> usize {
        let inner = self.rules.inner();
        let rule = inner.rules.iter().find(|rule| rule.id == self.id);
        rule.map_or(0, |rule| rule.fired)
    }

    /// Counts a call to which the fault is applied.
    pub(super) fn count(&self) {
        let mut inner = self.rules.inner();
        let rule = inner.rules.iter_mut().find(|rule| rule.id == self.id);
        if let Some(rule) = rule {
            rule.fired += 1;
        }
    }

    /// Removes the rule.
    pub fn remove(&self) {
        self.rules.inner().rules.retain(|rule| rule.id != self.id);
    }
}

impl fmt::Debug for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injected")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
