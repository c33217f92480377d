//! [`Journal`]: the rules of a tap, and the exchanges that it has recorded.

use super::{patience::lock, record::Exchange, rule::Rule};
use std::sync::{Arc, Mutex};

/// Rules, and recorded exchanges in the order in which their requests began.
#[derive(Default)]
pub(super) struct Journal {
    pub(super) rules: Mutex<Vec<Arc<Rule>>>,
    pub(super) exchanges: Mutex<Vec<Arc<Mutex<Exchange>>>>,
}

impl Journal {
    /// Records an exchange that begins, with the rules that apply to it.
    pub(super) fn record(&self, exchange: Exchange) -> (Arc<Mutex<Exchange>>, Vec<Arc<Rule>>) {
        let rules = lock(&self.rules)
            .iter()
            .filter(|rule| rule.applies_to(&exchange))
            .map(Arc::clone)
            .collect();
        let exchange = Arc::new(Mutex::new(exchange));
        lock(&self.exchanges).push(Arc::clone(&exchange));
        (exchange, rules)
    }
}
