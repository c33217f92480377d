//! Commands of operators, beside a running server and on a directory that no server uses.

use std::{env, fs, os::unix::fs::symlink, path::PathBuf, process::Command};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    image::{Layer, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, descriptor, digest_of, sha256},
    program::{Printed, Workbench, output_of},
    server::Server,
};

mod automatic;
mod backup;
mod beside;
mod clock;
mod collect;
mod copies;
mod dry_run;
mod list;
mod peers;
mod remove;
mod undo;
mod uploads;
mod usage;

pub(crate) fn trials() -> Vec<Trial> {
    [
        automatic::trials(),
        backup::trials(),
        beside::trials(),
        clock::trials(),
        collect::trials(),
        copies::trials(),
        dry_run::trials(),
        list::trials(),
        peers::trials(),
        remove::trials(),
        undo::trials(),
        uploads::trials(),
        usage::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A directory of images, and the commands on it.
struct Desk {
    bench: Workbench,
}

impl Desk {
    fn new() -> Self {
        Self {
            bench: Workbench::new(),
        }
    }

    fn root(&self) -> PathBuf {
        self.bench.path("images")
    }

    /// Returns the path of a blob's bytes.
    fn blob(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        let blobs = self.root().join("docker/registry/v2/blobs");
        blobs.join(algorithm).join(&hex[..2]).join(hex).join("data")
    }

    fn serve(&self) -> Server {
        Server::ours(&self.root())
    }

    /// Returns a command on the directory.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bench.command(env!("CARGO_BIN_EXE_registry"));
        command.args(arguments).arg("--root").arg(self.root());
        command
    }

    /// Runs a command that must succeed.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Printed {
        self.attempt(arguments)
            .unwrap_or_else(|failed| panic!("{arguments:?}: {failed}"))
    }

    fn attempt(&self, arguments: &[&str]) -> Result<Printed, String> {
        output_of(self.command(arguments))
    }

    /// Runs commands of a guide in the directory of the test. Returns what they print.
    fn sh(&self, commands: &str, variables: &[(&str, &str)]) -> String {
        let done = self.attempt_sh(commands, variables);
        done.unwrap_or_else(|failed| panic!("{commands}: {failed}"))
    }

    fn attempt_sh(&self, commands: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let programs = self.bench.path("bin");
        if !programs.exists() {
            fs::create_dir(&programs).unwrap();
            symlink(env!("CARGO_BIN_EXE_registry"), programs.join("registry")).unwrap();
        }
        let path = env::var("PATH").unwrap();
        let mut command = self.bench.command("sh");
        command
            .args(["-ec", commands])
            .env("PATH", format!("{}:{path}", programs.display()))
            .envs(variables.iter().copied());
        output_of(command).map(|printed| printed.text().to_owned())
    }

    /// Runs a command that prints lines of JSON.
    #[track_caller]
    fn items(&self, arguments: &[&str]) -> Vec<Value> {
        let printed = self.run(&[arguments, &["--json"]].concat());
        let lines = printed.text().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Returns the digest of a document.
fn digest(document: &str) -> String {
    sha256(document.as_bytes()).to_string()
}

/// Returns the descriptor of an image.
fn of_manifest(image: &Pushed) -> Value {
    json!({"mediaType": OCI_MANIFEST, "digest": image.digest, "size": image.manifest.len()})
}

/// An image of one layer, pushed without a client.
struct Pushed {
    digest: String,
    manifest: String,
    config: String,
    layer: String,
    /// Bytes of the manifest, its config and its layer.
    size: usize,
}

impl Pushed {
    fn to(server: &Server, repository: &str, tag: &str, seed: u64) -> Self {
        let layer = Layer::new(seed, 10_000 + usize::try_from(seed).unwrap());
        let config = json!({"architecture": "amd64", "os": "linux", "seed": seed}).to_string();
        let (of_config, of_layer) = (
            descriptor(OCI_CONFIG, config.as_bytes()),
            descriptor(OCI_LAYER, &layer.blob),
        );
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": of_config,
            "layers": [of_layer],
        })
        .to_string();
        server.push_blob(repository, &digest_of(&of_config).to_string(), config.as_bytes());
        server.push_blob(repository, &digest_of(&of_layer).to_string(), &layer.blob);
        server.push_manifest(repository, tag, OCI_MANIFEST, manifest.as_bytes());
        Self {
            digest: digest_of(&descriptor(OCI_MANIFEST, manifest.as_bytes())).to_string(),
            size: manifest.len() + config.len() + layer.blob.len(),
            config: digest_of(&of_config).to_string(),
            layer: digest_of(&of_layer).to_string(),
            manifest,
        }
    }

    /// Returns the digests of its manifest, config and layer.
    fn content(&self) -> [&str; 3] {
        [&self.digest, &self.config, &self.layer]
    }
}
