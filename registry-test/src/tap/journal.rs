//! [`Journal`]: the rules of a tap, and the exchanges that it has recorded.

use super::{detour::Detours, patience::lock, record::Exchange, rule::Rule};
use std::sync::{Arc, Mutex, OnceLock};

/// Rules, and recorded exchanges in the order in which their requests began.
#[derive(Default)]
pub(super) struct Journal {
    pub(super) rules: Mutex<Vec<Arc<Rule>>>,
    pub(super) exchanges: Mutex<Vec<Arc<Mutex<Exchange>>>>,
    pub(super) detours: Detours,
    /// Ends the validity of all tokens of the registry.
    pub(super) expire: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Held from the count of a request to its record, so that both have the same order.
    recording: Mutex<()>,
}

impl Journal {
    /// Returns the journal of a tap whose clients use TLS, or do not.
    pub(super) fn new(tls: bool) -> Self {
        Self {
            detours: Detours::new(tls),
            ..Self::default()
        }
    }

    /// Records an exchange that begins, with the rules that are due in it.
    pub(super) fn record(&self, exchange: Exchange) -> (Arc<Mutex<Exchange>>, Vec<Arc<Rule>>) {
        // Conditions of the test may add rules, so they run without a lock.
        let rules = lock(&self.rules).clone();
        let fits: Vec<_> = rules.iter().map(|rule| rule.fit(&exchange)).collect();
        let exchange = Arc::new(Mutex::new(exchange));
        let recording = lock(&self.recording);
        lock(&self.exchanges).push(Arc::clone(&exchange));
        let due = rules.into_iter().zip(fits);
        let due = due
            .filter(|(rule, fit)| rule.count(*fit, &exchange))
            .map(|(rule, _)| rule)
            .collect();
        drop(recording);
        (exchange, due)
    }
}
