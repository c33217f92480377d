//! [`Health`]: the checks of a server, and the [`Report`] of their results.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// The checks of a server. Clones share one list.
///
/// ```
/// use registry_health::Health;
///
/// let health = Health::new();
/// assert!(health.report().is_healthy());
///
/// health.register("disk", || Err("the disk is full".to_owned()));
/// assert!(!health.report().is_healthy());
///
/// // A check of the same name replaces the previous one.
/// health.register("disk", || Ok(()));
/// assert!(health.report().is_healthy());
/// ```
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<Arc<str>, Check>>>,
}

impl Health {
    /// Makes an empty list of checks, which is healthy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check, or replaces the one of the same name. `check` returns the fault as its error, for all
    /// readers of the report. It runs at each report, so a slow check belongs in a [`Watch`](crate::Watch).
    pub fn register(
        &self,
        name: impl Into<Arc<str>>,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.checks().insert(name.into(), Arc::new(check));
    }

    /// Runs every check.
    #[must_use]
    pub fn report(&self) -> Report {
        // A check may register another one, and a slow check must not block a second report.
        let checks: Vec<_> = self
            .checks()
            .iter()
            .map(|(name, check)| (Arc::clone(name), Arc::clone(check)))
            .collect();
        Report {
            verdicts: checks.into_iter().map(|(name, check)| (name, check())).collect(),
        }
    }

    fn checks(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Check>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.checks().keys()).finish()
    }
}

/// Results of the checks, in the order of their names.
///
/// ```
/// use registry_health::Health;
///
/// let health = Health::new();
/// health.register("tls", || Ok(()));
/// health.register("disk", || Err("the disk is full".to_owned()));
///
/// let report = health.report();
///
/// let checks: Vec<_> = report.checks().collect();
/// assert_eq!(checks, [("disk", Err("the disk is full")), ("tls", Ok(()))]);
/// assert_eq!(report.to_json(), r#"{"disk":"the disk is full"}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    verdicts: Vec<(Arc<str>, Result<(), String>)>,
}

impl Report {
    /// Returns true if every check passed.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| verdict.is_ok())
    }

    /// Returns every check, with its fault if it failed.
    pub fn checks(&self) -> impl Iterator<Item = (&str, Result<(), &str>)> {
        self.verdicts
            .iter()
            .map(|(name, verdict)| (&**name, verdict.as_ref().map(|&()| ()).map_err(String::as_str)))
    }

    /// Returns the report in the form of registry:2: an object with the fault under the name of each failed check. A
    /// healthy report is `{}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let failed: serde_json::Map<_, _> = self
            .checks()
            .filter_map(|(name, verdict)| Some((name.to_owned(), verdict.err()?.into())))
            .collect();
        serde_json::Value::Object(failed).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn healthy_is_an_empty_object() {
        let health = Health::new();
        assert!(health.report().is_healthy());

        health.register("storage", || Ok(()));

        assert!(health.report().is_healthy());
        assert_eq!(health.report().to_json(), "{}");
        assert_eq!(
            health.report().checks().collect::<Vec<_>>(),
            [("storage", Ok(()))]
        );
    }

    #[test]
    fn each_check_that_failed_is_named_with_what_is_wrong() {
        let health = Health::new();
        let clone = health.clone();
        clone.register("b", || Err("a \"quoted\" word".to_owned()));
        clone.register("a", || Err("broken".to_owned()));
        clone.register("c", || Ok(()));

        let report = health.report();

        assert!(!report.is_healthy());
        assert_eq!(report.to_json(), r#"{"a":"broken","b":"a \"quoted\" word"}"#);
    }

    #[test]
    fn a_check_is_replaced_by_one_of_its_name() {
        let health = Health::new();
        health.register("a", || Err("broken".to_owned()));
        health.register("a", || Ok(()));
        assert!(health.report().is_healthy());
    }
}
