//! Seeds in a registry, and their digests, which must not change.

use super::{Seed, artifact, error::SeedError, image, index, plant::plant};
use registry_core::{Digest, MediaType, Registry, storage::MemoryStorage};
use serde_json::{Value, json};
use std::io::Read as _;

fn registry() -> Registry {
    Registry::builder(MemoryStorage::new()).build()
}

async fn planted(registry: &Registry, name: &str, seed: impl Into<Seed>) -> Digest {
    plant(registry, name, &seed.into()).await.unwrap()
}

async fn document(registry: &Registry, repository: &str, reference: &str) -> Value {
    let repository = registry.repository(repository).unwrap();
    let manifest = repository.manifest(reference).await.unwrap().unwrap();
    serde_json::from_slice(&manifest.bytes).unwrap()
}

async fn blob(registry: &Registry, repository: &str, descriptor: &Value) -> Vec<u8> {
    let repository = registry.repository(repository).unwrap();
    let digest = Digest::parse(descriptor["digest"].as_str().unwrap()).unwrap();
    let bytes = repository.read_blob(&digest, 1 << 20).await.unwrap().unwrap();
    assert_eq!(descriptor["size"], bytes.len());
    bytes.into()
}

/// Tests of users name such digests. A change of any of them is a breaking change.
#[tokio::test]
async fn digests_of_seeds_never_change() {
    let registry = registry();
    let empty = planted(&registry, "golden:empty", image()).await;
    let layers = image()
        .files([("etc/motd", "hello\n"), ("bin/app", "#!/bin/sh\n")])
        .layer([(format!("{}/é", "long".repeat(40)), [0u8, 255])])
        .platform("linux/arm64/v8")
        .config(r#"{"Labels": {"b": "2", "a": "1\n"}, "Cmd": ["/bin/app"]}"#)
        .annotation("org.opencontainers.image.version", "1.0");
    let full = planted(&registry, "golden:full", layers.clone()).await;
    let both = planted(
        &registry,
        "golden:index",
        index([image(), layers]).annotation("a", "b"),
    )
    .await;
    let report = artifact("application/vnd.example.report")
        .file("report.json", "{}")
        .layer("text/plain", "x")
        .annotation("a", "b")
        .subject("golden:full");
    let report = planted(&registry, "golden@sha256", report).await;

    assert_eq!(
        [empty, full, both, report].map(|digest| digest.to_string()),
        [
            "sha256:15916e4f27a152fe39569f18c7504128affe9e4c52f62d4a7a2588ceb2c85aab",
            "sha256:7192416bcceabc5aa5256beb250277667dabb6764a5de95eb339af1de77a6499",
            "sha256:5a25cb97ab571bc29e4b6d81aa019cbb88bc74cc6bb95f079a2d828e0b3fc437",
            "sha256:f4f341124daa6696575988190ba9dba19a34a8245b7b618af625b60aac0d422e",
        ]
    );
}

#[tokio::test]
async fn an_image_has_its_layers_and_their_digests() {
    let registry = registry();
    let seed = image()
        .files([("a", "1")])
        .files([("b", "2")])
        .layer([("c", "3")]);

    planted(&registry, "team/app:v1", seed.config(r#"{"Env":["A=b"]}"#)).await;

    let manifest = document(&registry, "team/app", "v1").await;
    let config = blob(&registry, "team/app", &manifest["config"]).await;
    let config: Value = serde_json::from_slice(&config).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let digests: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
    assert_eq!(config["rootfs"], json!({"type": "layers", "diff_ids": digests}));
    assert_eq!(config["config"], json!({"Env": ["A=b"]}));
    let mut names = Vec::new();
    for layer in layers {
        let archive = blob(&registry, "team/app", layer).await;
        let mut archive = tar::Archive::new(&archive[..]);
        let entries = archive.entries().unwrap();
        let paths = entries.map(|entry| entry.unwrap().path().unwrap().display().to_string());
        names.push(paths.collect::<Vec<_>>());
    }
    assert_eq!(names, [vec!["a", "b"], vec!["c"]]);
}

#[tokio::test]
async fn layers_in_gzip_have_the_digests_of_their_archives_in_the_configuration() {
    let registry = registry();
    let seed = image().files([("a", "1")]).layer([("b", "2")]);
    planted(&registry, "app:tar", seed.clone()).await;
    let digest = planted(&registry, "app:gzip", seed.gzip()).await;

    let [tar, gzip] = [
        document(&registry, "app", "tar").await,
        document(&registry, "app", "gzip").await,
    ];
    assert_eq!(gzip["config"], tar["config"]);
    for at in 0..2 {
        let (tar, gzip) = (&tar["layers"][at], &gzip["layers"][at]);
        assert_eq!(gzip["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        let compressed = blob(&registry, "app", gzip).await;
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(&compressed[..])
            .read_to_end(&mut archive)
            .unwrap();
        assert!(archive == blob(&registry, "app", tar).await);
    }
    // Like those of other seeds, it never changes.
    assert_eq!(
        digest.to_string(),
        "sha256:61e80c652f5174d1231370d351b4d22e5b3d8c10498f81e58fd2edc91236a264"
    );
}

#[tokio::test]
async fn an_index_names_the_platforms_of_its_images() {
    let registry = registry();
    let images = ["linux/amd64", "linux/arm/v7"].map(|platform| image().platform(platform));

    planted(&registry, "app:v1", index(images)).await;

    let index = document(&registry, "app", "v1").await;
    let platforms: Vec<_> = index["manifests"].as_array().unwrap().iter().collect();
    assert_eq!(
        platforms[0]["platform"],
        json!({"os": "linux", "architecture": "amd64"})
    );
    let arm = json!({"os": "linux", "architecture": "arm", "variant": "v7"});
    assert_eq!(platforms[1]["platform"], arm);
    let image = document(&registry, "app", platforms[1]["digest"].as_str().unwrap()).await;
    assert_eq!(image["mediaType"], MediaType::OCI_MANIFEST);
}

#[tokio::test]
async fn an_artifact_is_a_referrer_of_its_subject() {
    let registry = registry();
    let subject = planted(&registry, "team/app:v1", image()).await;
    let artifact = |n: &str| artifact("application/vnd.example.sbom").file("sbom", n);
    let mut planted_ones = Vec::new();
    for seed in [
        artifact("1").subject("team/app:v1"),
        artifact("2").subject("v1"),
        artifact("3").subject(subject),
        artifact("4").subject(format!("team/app@{subject}")),
    ] {
        planted_ones.push(planted(&registry, "team/app@sha256", seed).await);
    }

    let repository = registry.repository("team/app").unwrap();
    let page = registry_core::protocol::PageQuery::default();
    let found = repository
        .referrers(&subject, Some("application/vnd.example.sbom"), &page)
        .await;

    let mut found: Vec<_> = found.unwrap().items.iter().map(|one| one.digest).collect();
    found.sort();
    planted_ones.sort();
    assert_eq!(found, planted_ones);
}

#[tokio::test]
async fn a_seed_that_cannot_be_planted_leaves_nothing_and_has_a_reason() {
    let registry = registry();
    let other = Digest::of(registry_core::Algorithm::Sha256, b"other");
    let cases: [(&str, Seed, &str); 8] = [
        ("App", image().into(), "REPOSITORY:TAG"),
        (&format!("app@{other}"), image().into(), "use this one, or a tag"),
        ("app:v1", image().platform("arm64").into(), "`os/architecture`"),
        ("app:v1", image().config("[]").into(), "no JSON object"),
        ("app:v1", image().config(r#"{"a": [1.5]}"#).into(), "no integer"),
        ("app:v1", image().files([("../a", "")]).into(), "`.` or `..`"),
        ("app:v1", artifact("no type").into(), "is no media type"),
        (
            "app:v1",
            artifact("application/vnd.a").subject("v0").into(),
            "the subject \"v0\" is not in the repository app; seed it first",
        ),
    ];
    for (name, seed, reason) in cases {
        let refused = plant(&registry, name, &seed).await.unwrap_err();
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    assert!(matches!(
        plant(&registry, &format!("app@{other}"), &image().into()).await,
        Err(SeedError::Digest { .. })
    ));
    let tags = registry
        .repository("app")
        .unwrap()
        .tags(&registry_core::protocol::PageQuery::default())
        .await;
    assert!(tags.unwrap().is_none(), "the repository does not exist");
}

#[tokio::test]
async fn a_seed_goes_into_a_registry_that_is_read_only_for_clients() {
    let registry = Registry::builder(MemoryStorage::new()).read_only().build();
    let digest = planted(&registry, "app:v1", image()).await;
    assert_eq!(
        planted(&registry, &format!("app@{digest}"), image()).await,
        digest
    );
}
