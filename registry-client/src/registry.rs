//! Calls to a registry as a whole.

use crate::{call::Call, client::Client, error::Result, host::Host};
use http::StatusCode;
use registry_core::protocol::Request;

/// Maximum size of the answer to a ping, in bytes.
const PONG: usize = 64 * 1024;

impl Client {
    /// Checks that `host` is a registry that accepts the credential, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthorized`](crate::Error::Unauthorized) if it requires another login,
    /// [`Error::NotFound`](crate::Error::NotFound) if it is no registry, and the failures of connections.
    pub async fn ping(&self, host: &Host) -> Result<()> {
        let call = Call::new(host, Request::Ping);
        self.fetch(&call, &[StatusCode::OK], PONG).await?;
        Ok(())
    }
}
