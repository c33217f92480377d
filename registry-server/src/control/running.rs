//! [`RunningRegistry`]: the registry of a running server, through its control socket.

use super::client::{Connection, MISSING, PATIENCE, silent};
use registry_client::{Client, ClientBuilder, Error, Host, HostOptions};
use registry_core::BoxError;
use registry_storage_fs::OwnerRecord;
use std::{
    path::{Path, PathBuf},
    pin::pin,
};
use tokio::{net::UnixStream, time::timeout};

/// Name of the server in messages. Nothing looks it up.
const NAME: &str = "running-server";

/// Registry of the server that owns a directory, with the authority of the host.
#[derive(Clone, Debug)]
pub(crate) struct RunningRegistry {
    /// Client whose connections to `host` are those to the control socket, whichever server owns the directory then.
    pub(crate) client: Client,
    pub(crate) host: Host,
}

impl RunningRegistry {
    /// Reaches the server that owns the directory `root`, with the settings of a client. Calls `told` if it does not answer
    /// for some seconds.
    ///
    /// # Errors
    ///
    /// If no server can be reached, it does not answer, or it is too old to copy images.
    pub(super) async fn of(
        root: &Path,
        client: ClientBuilder,
        told: impl FnOnce(String) + Send,
    ) -> Result<Self, BoxError> {
        let host = Host::parse(NAME).expect("the name is one of a host");
        let directory = root.to_path_buf();
        let options = HostOptions::new().connector(move || connect(directory.clone()));
        let client = client.host(host.clone(), options).build()?;
        let this = Self { client, host };
        this.check(root, told).await?;
        Ok(this)
    }

    async fn check(&self, root: &Path, told: impl FnOnce(String) + Send) -> Result<(), BoxError> {
        let mut answered = pin!(self.client.ping(&self.host));
        let answered = match timeout(PATIENCE, &mut answered).await {
            Ok(answered) => answered,
            Err(_elapsed) => {
                let process = OwnerRecord::read(root).ok().flatten();
                told(silent(process.and_then(|owner| owner.process)));
                answered.await
            }
        };
        match answered {
            Err(Error::NotFound { .. }) => Err(MISSING.into()),
            answered => Ok(answered?),
        }
    }
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
