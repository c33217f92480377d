//! An index of blobs, as BuildKit keeps a cache in a registry, copied to another registry.

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::Scene;
use crate::{
    image::{DOCKER_LAYER, DOCKER_LIST, OCI_INDEX, OCI_LAYER, digest_of, noise, read_blob, references},
    program::Workbench,
    server::Server,
};

pub(super) fn trials() -> Vec<Trial> {
    [
        trials!(["crane"]; crane_copies_a_cache),
        trials!(["regctl"]; regctl_copies_a_cache),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn crane_copies_a_cache() {
    assert_copied(|bench, from, to| {
        bench.crane(&["copy", from, to]);
    });
}

fn regctl_copies_a_cache() {
    assert_copied(|bench, from, to| {
        let host = |reference: &str| {
            let (host, _) = reference.split_once('/').expect("HOST/REPOSITORY");
            format!("--host=reg={host},tls=disabled")
        };
        bench.run("regctl", &[&host(from), &host(to), "image", "copy", from, to]);
    });
}

/// Checks copies of an OCI index and of a Docker list: BuildKit writes both.
fn assert_copied(copy: impl Fn(&Workbench, &str, &str)) {
    let mut scene = Scene::new();
    let other = Server::under_test(&scene.bench.path("other"));
    for (tag, list, layer) in [
        ("oci", OCI_INDEX, OCI_LAYER),
        ("docker", DOCKER_LIST, DOCKER_LAYER),
    ] {
        let cache = cache(&mut scene, list, layer);
        for blob in references(&cache).0 {
            let digest = digest_of(&blob);
            let bytes = scene.layout.blob(&digest);
            scene.server.push_blob("team/cache", &digest.to_string(), &bytes);
        }
        scene.server.push_manifest("team/cache", tag, list, &cache);

        let name = format!("team/cache:{tag}");
        copy(
            &scene.bench,
            &scene.server.repository(&name),
            &other.repository(&name),
        );

        let copied = other.get(&format!("/v2/team/cache/manifests/{tag}"));
        assert_eq!(copied.body, cache);
        assert_eq!(copied.header("content-type"), Some(list));
        for blob in references(&cache).0 {
            let digest = digest_of(&blob);
            let copied = other.get(&format!("/v2/team/cache/blobs/{digest}"));
            assert!(
                copied.body == read_blob(scene.layout.path(), &digest),
                "{digest} is what was pushed"
            );
        }
    }
}

/// Makes a list of two layers and BuildKit's own configuration of a cache.
fn cache(scene: &mut Scene, list: &str, layer: &str) -> Vec<u8> {
    let mut entries: Vec<Value> = [31, 32]
        .map(|seed| scene.layout.add(layer, &noise(seed, 50_000)))
        .into();
    let layers: Vec<&Value> = entries.iter().map(|entry| &entry["digest"]).collect();
    let config = json!({ "layers": layers, "records": [] }).to_string();
    let media_type = "application/vnd.buildkit.cacheconfig.v0";
    entries.push(scene.layout.add(media_type, config.as_bytes()));
    let index = json!({ "schemaVersion": 2, "mediaType": list, "manifests": entries });
    index.to_string().into_bytes()
}
