//! The selection of a repository by its name.

use super::RemoteRepository;
use crate::{
    client::Client,
    host::{Host, InvalidHost},
};
use registry_core::{RepositoryName, name::InvalidName};

impl Client {
    /// Selects a repository by its full name, such as `registry.example/team/app`. The name of the registry is
    /// required. Nothing is requested.
    ///
    /// ```
    /// use registry_client::Client;
    ///
    /// let client = Client::new();
    /// let repository = client.repository("127.0.0.1:5000/team/app")?;
    /// assert_eq!(repository.host().as_str(), "127.0.0.1:5000");
    /// assert_eq!(repository.name().as_str(), "team/app");
    ///
    /// // Official images of Docker Hub are below `library`.
    /// assert_eq!(client.repository("docker.io/alpine")?.name().as_str(), "library/alpine");
    /// assert!(client.repository("team/app").is_err());
    /// # Ok::<(), registry_client::InvalidRepository>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidRepository`] with the violated rule.
    pub fn repository(&self, name: &str) -> Result<RemoteRepository, InvalidRepository> {
        let no_host = || InvalidRepository::NoHost(name.chars().take(64).collect());
        let (host, path) = name.split_once('/').ok_or_else(no_host)?;
        // As in every client: anything else is the first component of a name on Docker Hub.
        if !host.contains(['.', ':']) && host != "localhost" {
            return Err(no_host());
        }
        let host = Host::parse(host)?;
        let name = if host.is_docker_hub() && !path.contains('/') {
            RepositoryName::parse(&format!("library/{path}"))?
        } else {
            RepositoryName::parse(path)?
        };
        Ok(self.repository_of(host, name))
    }

    /// Selects a repository of `host`. Nothing is requested.
    #[must_use]
    pub fn repository_of(&self, host: Host, name: RepositoryName) -> RemoteRepository {
        RemoteRepository::new(self.clone(), host, name)
    }
}

/// Error for a string that is not the full name of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRepository {
    /// The name of the registry is missing.
    #[error(
        "{0:?} does not begin with a registry: write `registry.example/name`, or `docker.io/name` for Docker Hub"
    )]
    NoHost(String),
    /// The name of the registry is malformed.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// The rest is not the name of a repository.
    #[error(transparent)]
    Name(#[from] InvalidName),
}
