//! Faults of a [`TestRegistry`].

use super::TestRegistry;
use crate::tap::{Fault, Handle, On, Rule};

impl TestRegistry {
    /// Adds a fault, for requests that begin from now on. Several may happen to one request.
    ///
    /// ```
    /// use registry_test::{TestRegistry, fault::{GET, cut, on}, tap::Side::Response};
    ///
    /// let registry = TestRegistry::start();
    /// let cut = registry.fault(on(GET).blob().optional(), cut(Response).after(1000));
    /// assert_eq!(cut.fired(), 0);
    /// ```
    ///
    /// # Panics
    ///
    /// If the fault leads to the second host, and no port is free for it; if tokens have to expire, and there are none.
    #[track_caller]
    pub fn fault(&self, on: On, fault: impl Into<Fault>) -> Handle {
        self.tap.fault(on, fault)
    }

    /// Adds a rule, such as one of the [presets](crate::fault::preset).
    ///
    /// # Panics
    ///
    /// If the fault leads to the second host, and no port is free for it; if tokens have to expire, and there are none.
    #[track_caller]
    pub fn add_fault(&self, rule: impl Into<Rule>) -> Handle {
        self.tap.add(rule)
    }

    /// Adds several rules, such as those of a [preset](crate::fault::preset).
    ///
    /// # Panics
    ///
    /// If a fault leads to the second host, and no port is free for it.
    #[track_caller]
    pub fn add_faults(&self, rules: impl IntoIterator<Item = Rule>) -> Vec<Handle> {
        rules.into_iter().map(|rule| self.add_fault(rule)).collect()
    }

    /// Returns the faults that were added and not cleared since.
    #[must_use]
    pub fn faults(&self) -> Vec<Handle> {
        self.tap.rules()
    }

    /// Ends all faults. None of them has to happen any more.
    pub fn clear_faults(&self) {
        self.tap.clear();
    }

    /// Checks that each fault has happened that is neither optional nor cleared. Dropping the registry does the same.
    ///
    /// A panic fails the test only on the test's own thread. If others own the registry too, one of them may be the last
    /// that drops it: call this function at the end of the test.
    ///
    /// # Panics
    ///
    /// If one has not happened. The message names it, and the requests that came nearest.
    #[track_caller]
    pub fn assert_faults_fired(&self) {
        let complaints: Vec<_> = self.tap.rules().iter().filter_map(Handle::complaint).collect();
        assert!(
            complaints.is_empty(),
            "{}\nchange the conditions, or add `.optional()` to a fault that need not happen",
            complaints.join("\n")
        );
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_faults_fired();
        }
    }
}
