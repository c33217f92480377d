//! Images in a bucket of a real object store: clients, the wire suite, several servers, outages, and commands of
//! operators.

mod clouds;
mod copies;
mod outages;
mod replicas;
mod wire;

use std::{fs, path::PathBuf, process::Command};

use libtest_mimic::Trial;
use object_stores::{S3Server, SeaweedFs, Versitygw};
use serde_json::json;

use crate::{
    image::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, descriptor, noise, sha256},
    program::{Printed, Workbench, output_of},
    server::{self, Server},
};

pub(crate) fn trials() -> Vec<Trial> {
    [
        clouds::trials(),
        copies::trials(),
        outages::trials(),
        replicas::trials(),
        wire::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const OURS: &str = env!("CARGO_BIN_EXE_registry");

/// An object store with a bucket `images`.
struct Scene {
    bench: Workbench,
    store: S3Server,
}

impl Scene {
    fn versitygw() -> Self {
        Self::of(Versitygw::start().unwrap())
    }

    fn seaweedfs() -> Self {
        Self::of(SeaweedFs::start().unwrap())
    }

    fn of(store: S3Server) -> Self {
        store.bucket("images").unwrap();
        Self {
            bench: Workbench::new(),
            store,
        }
    }

    /// Returns the URL of a directory of the bucket.
    fn url(&self, directory: &str) -> String {
        format!("s3://images/{directory}?regionendpoint={}", self.store.endpoint())
    }

    /// Writes a configuration for a directory of the bucket. `more` is text below `storage`.
    fn config(&self, directory: &str, more: &str) -> PathBuf {
        let path = self.bench.path(&format!("{directory}.yml"));
        let config = format!(
            "version: 0.1\n\
             storage:\n  s3:\n    bucket: images\n    rootdirectory: /{directory}\n    regionendpoint: {}\n    \
             region: {}\n    accesskey: {}\n    secretkey: {}\n  delete: {{ enabled: true }}\n{more}\
             http:\n  addr: 127.0.0.1:0\n  debug: {{ addr: '127.0.0.1:0' }}\n\
             health: {{ storagedriver: {{ interval: 1s, threshold: 1 }} }}\n",
            self.store.endpoint(),
            self.store.region(),
            self.store.access_key(),
            self.store.secret(),
        );
        fs::write(&path, config).unwrap();
        path
    }

    /// Returns the command that serves a configuration.
    fn serving(config: &PathBuf) -> Command {
        let mut command = server::program(OURS);
        command.arg("serve").arg(config);
        command
    }

    fn serve(&self, directory: &str, more: &str) -> Server {
        Server::start(
            Self::serving(&self.config(directory, more)),
            "listening on http://",
        )
    }

    /// Runs a command of operators with the keys of the store; the error has its output.
    fn operate(&self, arguments: &[&str]) -> Result<Printed, String> {
        let mut command = self.bench.command(OURS);
        command
            .args(arguments)
            .env("AWS_ACCESS_KEY_ID", self.store.access_key())
            .env("AWS_SECRET_ACCESS_KEY", self.store.secret());
        output_of(command)
    }
}

/// Pushes an image with one layer, and returns the digest of its manifest.
fn push(server: &Server, repository: &str, tag: &str, seed: u64) -> String {
    let (config, layer) = (format!("{{\"seed\":{seed}}}"), noise(seed, 100_000));
    for blob in [config.as_bytes(), &layer] {
        server.push_blob(repository, &sha256(blob).to_string(), blob);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(OCI_CONFIG, config.as_bytes()),
        "layers": [descriptor(OCI_LAYER, &layer)],
    });
    let manifest = manifest.to_string();
    server.push_manifest(repository, tag, OCI_MANIFEST, manifest.as_bytes());
    sha256(manifest.as_bytes()).to_string()
}

/// Returns the digest at which a tag points, as a server answers.
fn target(server: &Server, repository: &str, tag: &str) -> String {
    let answer = server.get(&format!("/v2/{repository}/manifests/{tag}"));
    answer.header("docker-content-digest").unwrap().to_owned()
}
