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

    /// Ends all connections and all operations in progress at once, and refuses connections from now on, as a registry
    /// whose process has died (`ECONNREFUSED`). No other program gets the port.
    ///
    /// ```
    /// use registry_test::TestRegistry;
    /// use std::{io::ErrorKind, net::TcpStream};
    ///
    /// let registry = TestRegistry::start();
    /// registry.stop();
    /// let error = TcpStream::connect(registry.addr()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    /// registry.resume();
    /// TcpStream::connect(registry.addr()).unwrap();
    /// ```
    ///
    /// # Panics
    ///
    /// If another program has got the port, which it may in the moment in which its listener is closed.
    #[track_caller]
    pub fn stop(&self) {
        if let Err(error) = self.tap.refuse_connections() {
            panic!(
                "cannot keep the port {} of a test registry that stops: {error}; run the test again",
                self.addr()
            );
        }
        self.restart();
    }

    /// Continues after a [pause](Self::pause), with the requests that wait, or after a [stop](Self::stop), with new
    /// connections. Content, uploads and tokens are those of before.
    ///
    /// # Panics
    ///
    /// If the registry cannot listen again.
    #[track_caller]
    pub fn resume(&self) {
        self.server.pause(false);
        if let Err(error) = self.tap.accept_connections() {
            panic!("cannot listen on {} again: {error}", self.addr());
        }
    }
}
