//! [`Connecting`]: settings of the connections to a store.

use std::time::Duration;

/// Settings of the connections to a store.
#[derive(Clone, Debug)]
pub(crate) struct Connecting {
    pub(crate) user_agent: http::HeaderValue,
    pub(crate) accept_invalid_certificates: bool,
    /// Time for the establishment of a connection.
    pub(crate) timeout: Duration,
}

impl Connecting {
    /// Returns a client with a connection for each request under way.
    pub(super) fn client(&self) -> reqwest::Result<reqwest::Client> {
        reqwest::Client::builder()
            .user_agent(self.user_agent.clone())
            .tls_danger_accept_invalid_certs(self.accept_invalid_certificates)
            .connect_timeout(self.timeout)
            .http1_only()
            .build()
    }
}
