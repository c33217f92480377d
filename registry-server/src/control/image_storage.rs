//! [`ImageStorage`]: the images of a directory, for commands that copy them.

use super::{
    client::{Connection, MISSING, PATIENCE, silent},
    operation::BoxError,
};
use crate::causes::with_causes;
use registry_client::{Client, Error as ClientError, Host, HostOptions};
use registry_core::{
    Error as RegistryError, Repository, RepositoryName, protocol::PageQuery, service::RegistryView,
};
use registry_image::{Source, Target};
use registry_storage_fs::OwnerRecord;
use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};
use tokio::{net::UnixStream, time::timeout};

/// Name of a running server in messages. Nothing looks it up.
const NAME: &str = "running-server";

/// Maximum number of repositories that a running server lists.
const REPOSITORIES: usize = 10_000_000;

/// Images of a directory, with the authority of the host.
#[derive(Clone, Debug)]
pub(crate) struct ImageStorage(Place);

#[derive(Clone, Debug)]
enum Place {
    /// This process has opened the directory.
    Here(RegistryView),
    /// A server owns it. The connections of the client are those to the control socket of the server that owns the directory
    /// at the time.
    Server(Client, Host),
}

/// Reason for which the images of a directory cannot be reached.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NotOpened {
    message: String,
    /// True if a later attempt may succeed although nothing is changed.
    pub(crate) is_transient: bool,
}

impl NotOpened {
    /// Describes a process that owns the directory and does not serve the command now.
    pub(super) const fn later(message: String) -> Self {
        Self {
            message,
            is_transient: true,
        }
    }
}

impl From<String> for NotOpened {
    fn from(message: String) -> Self {
        Self {
            message,
            is_transient: false,
        }
    }
}

impl From<ClientError> for NotOpened {
    fn from(error: ClientError) -> Self {
        Self {
            message: error.to_string(),
            is_transient: error.is_transient(),
        }
    }
}

impl From<RegistryError> for NotOpened {
    fn from(error: RegistryError) -> Self {
        Self {
            message: with_causes(&error),
            is_transient: error.wire().0.is_server_error(),
        }
    }
}

impl ImageStorage {
    /// Uses a directory that this process has opened.
    pub(super) const fn here(registry: RegistryView) -> Self {
        Self(Place::Here(registry))
    }

    /// Reaches the server that owns the directory `root`. Calls `told` if it does not answer for some seconds.
    pub(super) async fn of_server(root: &Path, told: impl FnOnce(String)) -> Result<Self, NotOpened> {
        let host = Host::parse(NAME).expect("the name is one of a host");
        let directory = root.to_path_buf();
        let options = HostOptions::new().connector(move || connect(directory.clone()));
        let client = Client::builder()
            .host(host.clone(), options)
            .user_agent(concat!("registry/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| error.to_string())?;
        let mut answered = pin!(client.ping(&host));
        let answered = match timeout(PATIENCE, &mut answered).await {
            Ok(answered) => answered,
            Err(_elapsed) => {
                let owner = OwnerRecord::read(root).ok().flatten();
                told(silent(owner.and_then(|owner| owner.process)));
                answered.await
            }
        };
        match answered {
            Ok(()) => Ok(Self(Place::Server(client.clone(), host.clone()))),
            Err(ClientError::NotFound { .. }) => Err(MISSING.to_owned().into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns a repository that is read.
    pub(crate) fn source(&self, name: &RepositoryName) -> Arc<dyn Source> {
        match &self.0 {
            Place::Here(registry) => Arc::new(repository_of(registry, name)),
            Place::Server(client, host) => Arc::new(client.repository_of(host.clone(), name.clone())),
        }
    }

    /// Returns a repository that is written.
    pub(crate) fn target(&self, name: &RepositoryName) -> Box<dyn Target> {
        match &self.0 {
            Place::Here(registry) => Box::new(repository_of(registry, name)),
            Place::Server(client, host) => Box::new(client.repository_of(host.clone(), name.clone())),
        }
    }

    /// Returns all repositories, in byte order.
    ///
    /// # Errors
    ///
    /// If the storage fails, or the server does not answer.
    pub(crate) async fn repositories(&self) -> Result<Vec<RepositoryName>, NotOpened> {
        let registry = match &self.0 {
            Place::Here(registry) => registry,
            Place::Server(client, host) => return Ok(client.catalog(host).all(REPOSITORIES).await?),
        };
        let mut names = Vec::new();
        let mut page = PageQuery::default();
        loop {
            let listed = registry.repositories(&page).await?;
            names.extend(listed.items);
            if !listed.more {
                return Ok(names);
            }
            page.last = names.last().cloned();
        }
    }
}

fn repository_of(registry: &RegistryView, name: &RepositoryName) -> Repository {
    registry.repository(name).expect("the name was parsed before")
}

/// Connects to the server that owns a directory now.
async fn connect(root: PathBuf) -> Result<UnixStream, BoxError> {
    let owner = OwnerRecord::read(&root)?;
    let connection = match &owner {
        Some(owner) => Connection::to(owner).await?,
        None => None,
    };
    let ended = || format!("no server that takes commands uses {} any more", root.display());
    Ok(connection.ok_or_else(ended)?.into_stream())
}
