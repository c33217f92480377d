//! [`RemoteRepository`]: one repository of a registry.

mod abilities;
mod blob;
mod chunk_size;
mod chunks;
mod delete;
mod list;
mod manifest;
mod push;
mod put;
mod referrers;
mod select;
mod session;
mod stream;
mod upload;
mod upload_token;

pub use self::{
    abilities::RemoteAbilities,
    push::Pushed,
    select::InvalidRepository,
    stream::{BlobStart, BlobStream},
    upload::Upload,
    upload_token::{InvalidUploadToken, UploadToken},
};

use self::abilities::Learned;
use crate::{client::Client, host::Host};
use registry_core::{Algorithm, RepositoryName};

/// A repository of a registry. Clones are the same repository.
///
/// # Cancel safety
///
/// Calls are safe to cancel. The registry may have acted on a request of a dropped future that changes something, and it keeps
/// the upload session of a dropped push until it expires.
#[derive(Clone, Debug)]
pub struct RemoteRepository {
    client: Client,
    host: Host,
    name: RepositoryName,
    /// Repositories that a push may mount from.
    sources: Vec<RepositoryName>,
    /// Algorithm of the digests of manifests and uploads.
    algorithm: Algorithm,
    learned: Learned,
}

impl RemoteRepository {
    pub(crate) fn new(client: Client, host: Host, name: RepositoryName) -> Self {
        Self {
            client,
            host,
            name,
            sources: Vec::new(),
            algorithm: Algorithm::Sha256,
            learned: Learned::default(),
        }
    }

    /// Sets the algorithm of the digests of [manifests](Self::put_manifest) and [uploads](Self::upload) that are pushed. The
    /// default is sha256, which every registry supports.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
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

    /// Returns what the client has learned about the repository.
    #[must_use]
    pub fn abilities(&self) -> RemoteAbilities {
        self.learned.get()
    }
}
