//! `registry verify`: damage is found and repaired, by a running server and without one.

use std::{fs, path::Path, process::Command};

use libtest_mimic::Trial;
use serde_json::Value;

use crate::{
    image::{descriptor, noise, sha256},
    program::Workbench,
    server::{Server, end_of},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn trials() -> Vec<Trial> {
    trials!([];
        damage_is_found_and_repaired_by_a_running_server_and_without_one,
        what_cannot_be_verified_is_an_error,
    )
}

/// Runs `registry verify`; returns its exit code and its output.
fn verify(arguments: &[&str], root: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
    command.arg("verify").args(arguments).arg("--root").arg(root);
    let (status, said) = end_of(command);
    (status.code(), said)
}

fn push(server: &Server, layer: &[u8]) {
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", b"{}"),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    });
    for blob in [b"{}".as_slice(), layer] {
        server.push_blob("a/b", &sha256(blob).to_string(), blob);
    }
    server.push_manifest("a/b", "v1", MANIFEST, manifest.to_string().as_bytes());
}

fn damage_is_found_and_repaired_by_a_running_server_and_without_one() {
    let bench = Workbench::new();
    let root = bench.path("data");
    let server = Server::ours(&root);
    let layer = noise(1, 100_000);
    push(&server, &layer);
    let (code, said) = verify(&[], &root);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("verified 3 blobs") && said.contains("nothing is wrong"),
        "{said}"
    );

    let digest = sha256(&layer);
    let hex = digest.hex();
    let data = root.join(format!(
        "docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    ));
    let mut flipped = layer.clone();
    flipped[5] ^= 1;
    fs::write(&data, flipped).unwrap();

    let (code, said) = verify(&[], &root);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "corrupt: ",
        &data.display().to_string(),
        "a/b:v1",
        "nothing was changed",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, said) = verify(&["--json"], &root);
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [finding, summary] = &lines[..] else {
        panic!("{said}");
    };
    assert_eq!(finding["kind"], "corrupt");
    assert_eq!(finding["digest"], digest.to_string());
    assert_eq!(finding["affected"]["tags"][0], "a/b:v1");
    assert_eq!((&summary["wrong"], &summary["repaired"]), (&1.into(), &0.into()));
    let (code, said) = verify(&["--repair"], &root);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("repaired") && !data.exists(), "{said}");
    let blob = format!("/v2/a/b/blobs/{digest}");
    server.request("GET", &blob, &[], b"").expect_status(404);
    server.stop();

    let (code, said) = verify(&[], &root);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("lost-blob: "), "{said}");

    let server = Server::ours(&root);
    push(&server, &layer);
    assert_eq!(server.get(&blob).body, layer);
    let (code, said) = verify(&[], &root);
    assert_eq!(code, Some(0), "{said}");
}

fn what_cannot_be_verified_is_an_error() {
    let bench = Workbench::new();
    let missing = bench.path("missing");
    for arguments in [&[][..], &["--repair"]] {
        let (code, said) = verify(arguments, &missing);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&missing.display().to_string()), "{said}");
        assert!(!missing.exists(), "nothing is created");
    }
    let memory = bench.path("memory.yml");
    fs::write(
        &memory,
        "version: 0.1\nstorage:\n  inmemory: {}\nhttp:\n  addr: 127.0.0.1:0\n",
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
    command.arg("verify").arg(&memory);
    let (status, said) = end_of(command);
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("memory"), "{said}");
    let (code, said) = verify(&["--force"], &missing);
    assert_eq!(code, Some(2), "{said}");
}
