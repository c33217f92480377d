//! [`RemoteRepository`]: one repository of a registry.

mod blob;
mod manifest;
mod select;
mod stream;

pub use self::{
    select::InvalidRepository,
    stream::{BlobStart, BlobStream},
};

use crate::{client::Client, host::Host};
use registry_core::RepositoryName;

/// A repository of a registry. Clones are the same repository.
///
/// Calls are safe to cancel: a dropped future leaves nothing behind, except that the registry may have acted on a request
/// that changes something.
#[derive(Clone, Debug)]
pub struct RemoteRepository {
    client: Client,
    host: Host,
    name: RepositoryName,
}

impl RemoteRepository {
    pub(crate) const fn new(client: Client, host: Host, name: RepositoryName) -> Self {
        Self { client, host, name }
    }

    /// Returns the registry.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the name within the registry.
    #[must_use]
    pub const fn name(&self) -> &RepositoryName {
        &self.name
    }
}
