//! [`On`]: the requests to which a fault happens.

use super::Kind;
use crate::call::Call;

/// The requests to which a fault happens: by default the first that matches.
#[derive(Clone, Debug)]
pub struct On {
    kinds: Vec<Kind>,
    key: String,
    skipped: usize,
    times: usize,
}

/// Selects requests of a kind.
#[must_use]
pub fn on(kind: Kind) -> On {
    On {
        kinds: vec![kind],
        ..on_any()
    }
}

/// Selects requests of any kind.
#[must_use]
pub const fn on_any() -> On {
    On {
        kinds: Vec::new(),
        key: String::new(),
        skipped: 0,
        times: 1,
    }
}

impl On {
    /// Selects requests of this kind as well.
    #[must_use]
    pub fn or(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Selects only requests whose key contains this text. For listings, the key is the prefix.
    #[must_use]
    pub fn key(mut self, part: impl Into<String>) -> Self {
        self.key = part.into();
        self
    }

    /// Passes over the first requests that match.
    #[must_use]
    pub const fn after(mut self, requests: usize) -> Self {
        self.skipped = requests;
        self
    }

    /// Selects this number of requests.
    #[must_use]
    pub const fn first(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Selects every request that matches, until the rule is removed.
    #[must_use]
    pub const fn always(self) -> Self {
        self.first(usize::MAX)
    }

    /// Returns true if this request, which matches after `earlier` others, is selected.
    pub(super) const fn selects(&self, earlier: usize) -> bool {
        earlier >= self.skipped && earlier - self.skipped < self.times
    }

    pub(super) fn matches(&self, call: &Call) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&call.kind)) && call.key.contains(&self.key)
    }
}
