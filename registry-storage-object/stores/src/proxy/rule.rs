//! [`Rule`]: a fault with the requests to which it happens.

use super::{Fault, On};
use crate::call::Call;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A fault with the requests to which it happens. It stays in force when it is dropped.
#[derive(Clone, Debug)]
pub struct Rule(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    on: On,
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    matched: usize,
    happened: usize,
    removed: bool,
}

impl Rule {
    /// Returns the number of requests to which the fault has happened.
    #[must_use]
    pub fn happened(&self) -> usize {
        self.state().happened
    }

    /// Ends the rule: the fault happens to no later request.
    pub fn remove(&self) {
        self.state().removed = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request, and returns true if the fault happens to it.
    fn applies(&self, call: &Call) -> bool {
        if !self.0.on.matches(call) {
            return false;
        }
        let mut state = self.state();
        let applies = !state.removed && self.0.on.selects(state.matched);
        state.matched += 1;
        state.happened += usize::from(applies);
        applies
    }
}

/// The rules of a proxy.
#[derive(Debug, Default)]
pub(super) struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    pub(super) fn add(&self, on: On, fault: Fault) -> Rule {
        let rule = Rule(Arc::new(Inner {
            on,
            fault,
            state: Mutex::default(),
        }));
        self.rules().push(rule.clone());
        rule
    }

    /// Returns the rules that apply to a request, and counts it for them.
    pub(super) fn matching(&self, call: &Call) -> Vec<Rule> {
        self.rules()
            .iter()
            .filter(|rule| rule.applies(call))
            .cloned()
            .collect()
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rules that apply to one request.
pub(super) struct Acting(pub(super) Vec<Rule>);

impl Acting {
    pub(super) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter().map(|rule| &rule.0.fault)
    }
}
