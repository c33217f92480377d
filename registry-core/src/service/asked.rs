//! [`Asked`]: who asked for what, for the log of a request that failed.

use crate::{
    auth::AuthRequest,
    error::Error,
    name::RepositoryName,
    protocol::{Endpoint, normalized},
    storage::StorageError,
};
use http::{Method, Uri, request::Parts};
use std::{error::Error as StdError, net::IpAddr};

/// A request, as the log names it. Cheap to make: most requests succeed.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    client: Option<IpAddr>,
}

impl Asked {
    pub(super) fn of(parts: &Parts) -> Self {
        let client = AuthRequest::new(parts).client_address();
        Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            client: client.map(|address| address.ip().to_canonical()),
        }
    }

    fn repository(&self) -> Option<RepositoryName> {
        Endpoint::parse(self.uri.path()).ok()?.repository().cloned()
    }

    /// Logs a refusal: what a client may not learn, and what an operator wants to see.
    pub(super) fn refused(&self, error: &Error) {
        let (status, code) = error.wire();
        // A full disk is the client's to hear about and the operator's to do something about.
        if !(status.is_server_error() || matches!(error, Error::Full(_) | Error::OutOfFiles(_))) {
            tracing::debug!(%status, %code, %error, "refused");
            return;
        }
        tracing::error!(
            %status,
            method = %self.method,
            path = &*normalized(self.uri.path()),
            repository = self.repository().map(display),
            client = self.client.map(display),
            "{}",
            with_causes(error)
        );
    }

    /// Logs that the rest of an answer cannot be read. The client sees no more than a connection that is cut.
    pub(super) fn broke_off(&self, error: &StorageError) {
        tracing::error!(
            method = %self.method,
            path = &*normalized(self.uri.path()),
            repository = self.repository().map(display),
            client = self.client.map(display),
            "an answer breaks off: {}",
            with_causes(error)
        );
    }
}

fn with_causes(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
