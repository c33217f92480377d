//! Quirks of a test registry.

use super::Builder;
use crate::quirk::Quirk;

impl Builder {
    /// Adds behaviour in which registries differ.
    ///
    /// ```
    /// use registry_test::{Quirk, TestRegistry};
    ///
    /// let registry = TestRegistry::builder()
    ///     .quirk(Quirk::WithoutReferrers)
    ///     .quirk(Quirk::PageSize(10))
    ///     .start();
    /// ```
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }
}
