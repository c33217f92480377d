//! The configuration of registry:2, served: files and environments of real installations, compared with registry:2
//! itself where both must do the same.

mod logged;
mod origins;
mod refused;
mod served;

use std::{fs, path::PathBuf, process::Command};

use libtest_mimic::Trial;
use tempfile::TempDir;

use crate::{
    image::sha256,
    server::{self, Server},
};

pub(crate) fn trials() -> Vec<Trial> {
    let parts = [
        served::trials(),
        origins::trials(),
        refused::trials(),
        logged::trials(),
    ];
    parts.into_iter().flatten().collect()
}

/// Configuration for the Joxit user interface beside the registry.
const WITH_A_USER_INTERFACE: &str = "\
version: 0.1
log:
  fields:
    service: registry
storage:
  delete:
    enabled: true
  cache:
    blobdescriptor: inmemory
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
    Access-Control-Allow-Origin: ['http://hub.example:5001']
    Access-Control-Allow-Methods: ['HEAD', 'GET', 'OPTIONS', 'DELETE']
    Access-Control-Allow-Headers: ['Authorization', 'Accept']
    Access-Control-Max-Age: [1728000]
    Access-Control-Allow-Credentials: [true]
    Access-Control-Expose-Headers: ['Docker-Content-Digest']
";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A directory with a configuration file in it.
struct Setup {
    directory: TempDir,
}

impl Setup {
    fn new(config: &str) -> Self {
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("config.yml"), config).unwrap();
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// Returns `PROGRAM serve config.yml`, on a free port, with the images beside the configuration.
    fn command(&self, program: &str, variables: &[(&str, &str)]) -> Command {
        let mut command = server::program(program);
        command
            .arg("serve")
            .arg(self.config())
            .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
            .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", self.root())
            .envs(variables.iter().copied());
        command
    }

    fn ours(&self, variables: &[(&str, &str)]) -> Server {
        Server::start(self.command(OURS, variables), "http://")
    }

    fn registry2(&self, variables: &[(&str, &str)]) -> Server {
        Server::start(self.command("docker-registry", variables), "listening on ")
    }
}

const OURS: &str = env!("CARGO_BIN_EXE_registry");

/// Makes a minimal configuration with this text under `http`.
fn with_http(http: &str) -> Setup {
    Setup::new(&format!("version: 0.1\nhttp: {{{http}}}\n"))
}

fn push(server: &Server, repository: &str) -> String {
    let config = b"{}";
    server.push_blob(repository, &sha256(config).to_string(), config);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","digest":"{}","size":2}},"layers":[]}}"#,
        sha256(config)
    );
    server.push_manifest(repository, "v1", MANIFEST, manifest.as_bytes());
    sha256(manifest.as_bytes()).to_string()
}

/// Output of `htpasswd -b users ann secret`: apr1, as in most guides.
const USERS: &str = "ann:$apr1$QkJ4b3Jn$x6JbkG./Q0GN4D16Oxahf.\n";
