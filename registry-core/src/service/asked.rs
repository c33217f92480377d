//! [`Asked`]: client and target of a request, for the log entry of a failure.

use crate::{
    auth::AuthRequest,
    error::Error,
    name::RepositoryName,
    protocol::{Endpoint, normalized},
    storage::StorageError,
};
use http::{Method, Uri, request::Parts};
use std::{error::Error as StdError, net::IpAddr};

/// Method, target and client of a request, for the log. Cheap to create, because most requests succeed.
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

    /// Logs a refusal, including the details for the operator that the client may not see.
    pub(super) fn refused(&self, error: &Error) {
        let (status, code) = error.wire();
        // The client gets 403 for a full disk or a rule of the storage, but only the operator can resolve it.
        if !(status.is_server_error() || matches!(error, Error::Full { .. } | Error::DeniedByStorage(_))) {
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

    /// Logs that the rest of a response body cannot be read. The client only sees a closed connection.
    pub(super) fn broke_off(&self, error: &StorageError) {
        tracing::error!(
            method = %self.method,
            path = &*normalized(self.uri.path()),
            repository = self.repository().map(display),
            client = self.client.map(display),
            "a response broke off: {}",
            with_causes(error)
        );
    }
}

fn with_causes(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
