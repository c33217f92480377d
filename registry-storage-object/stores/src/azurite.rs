//! [`Azurite`]: the emulator of Azure Blob Storage.

use crate::{
    plain,
    process::{Program, StoreProcess},
};
use bytes::Bytes;
use http::{Request, StatusCode};
use object_store::{
    azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder},
    client::HttpRequestBody,
};
use std::{io, net::SocketAddr, path::Path, process::Command};

/// The only account, and its key, which protects nothing.
const ACCOUNT: &str = "tests";
const KEY: &str = "c2VjcmV0LW9mLXRoZS10ZXN0cw==";

/// Azurite, of the npm package `azurite`.
///
/// It keeps the conditions of writes, lists in the order of bytes, and ignores `startFrom`, by which `object_store` lists from
/// an offset. A process that is killed loses what it stored last, so it cannot be restarted.
#[derive(Debug)]
pub struct Azurite;

impl Azurite {
    /// Name of the program, in `PATH`.
    pub const PROGRAM: &'static str = "azurite-blob";

    /// Starts a server, and waits until it stores objects: about two seconds.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if the program is not installed. Otherwise the process cannot be started, ends, or
    /// stores nothing for a minute; the message contains its output.
    pub fn start() -> io::Result<AzureServer> {
        StoreProcess::start(Self).map(AzureServer)
    }
}

impl Program for Azurite {
    fn name(&self) -> &'static str {
        Self::PROGRAM
    }

    fn ports(&self) -> usize {
        1
    }

    fn prepare(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn command(&self, program: &Path, directory: &Path, ports: &[SocketAddr]) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(directory)
            .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"))
            .args(["--location", "data", "--blobHost", "127.0.0.1"])
            .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"]);
        for address in ports {
            command.arg("--blobPort").arg(address.port().to_string());
        }
        command
    }

    fn stores(&self, address: SocketAddr) -> io::Result<()> {
        create(address, "is-it-ready")
    }
}

/// A server of Azure Blob Storage on a loopback address, with an empty directory of its own. It is killed on drop.
///
/// It has one account, and checks signatures. The account is the first part of a path.
#[derive(Debug)]
pub struct AzureServer(StoreProcess);

impl AzureServer {
    /// Returns the address of the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Returns the URL of the account.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address())
    }

    /// Returns the name of the account.
    #[must_use]
    pub fn account(&self) -> &'static str {
        ACCOUNT
    }

    /// Returns the key of the account.
    #[must_use]
    pub fn access_key(&self) -> &'static str {
        KEY
    }

    /// Makes a container, unless it exists, and returns the settings of a client.
    ///
    /// # Errors
    ///
    /// An error of the connection, or the server's refusal.
    pub fn container(&self, name: &str) -> io::Result<MicrosoftAzureBuilder> {
        create(self.address(), name)?;
        Ok(self.client(name))
    }

    /// Returns the settings of a client for a container.
    #[must_use]
    pub fn client(&self, container: &str) -> MicrosoftAzureBuilder {
        MicrosoftAzureBuilder::new()
            .with_account(ACCOUNT)
            .with_access_key(KEY)
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_container_name(container)
    }
}

/// Makes a container. One that exists already is kept.
fn create(server: SocketAddr, container: &str) -> io::Result<()> {
    let mut request = Request::put(format!("http://{server}/{ACCOUNT}/{container}?restype=container"))
        .body(HttpRequestBody::empty())
        .map_err(io::Error::other)?;
    let key = AzureAccessKey::try_new(KEY).map_err(io::Error::other)?;
    AzureAuthorizer::new(&AzureCredential::AccessKey(key), ACCOUNT)
        .try_authorize(&mut request)
        .map_err(io::Error::other)?;
    match plain::send(server, &request.map(|_| Bytes::new()))? {
        (StatusCode::CREATED | StatusCode::CONFLICT, _) => Ok(()),
        (status, answer) => Err(io::Error::other(format!(
            "cannot make the container {container}: {status}, {answer}"
        ))),
    }
}
