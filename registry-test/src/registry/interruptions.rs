//! Interruptions of a whole test registry: it dies and starts again, or hangs.

use super::TestRegistry;

impl TestRegistry {
    /// Ends all connections and all operations in progress at once, as the death of the registry's process would. The port,
    /// the stored content, the open uploads and the tokens stay, and later connections are served.
    ///
    /// # Panics
    ///
    /// If the registry cannot be started again.
    #[track_caller]
    pub fn restart(&self) {
        if let Err(error) = self.tap.disconnect_by(|| self.server.restart()) {
            panic!("cannot restart the test registry: {error}");
        }
    }

    /// Holds every request that begins from now on, as a registry that hangs: it accepts connections, and answers
    /// nothing. After a minute without an answer, connections are closed. Requests [in process](Self::registry) are answered.
    ///
    /// ```
    /// use registry_test::TestRegistry;
    ///
    /// let registry = TestRegistry::start();
    /// registry.pause();
    /// // The program under test reports that its request has timed out.
    /// registry.resume();
    /// // Its next request succeeds.
    /// ```
    pub fn pause(&self) {
        self.server.pause(true);
    }

    /// Continues the requests that wait since a [pause](Self::pause).
    pub fn resume(&self) {
        self.server.pause(false);
    }
}
