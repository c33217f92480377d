//! Images that are built.

use crate::fixture::{assert_same, read, repository, sha256, tag};
use flate2::read::GzDecoder;
use registry_core::MediaType;
use registry_image::{
    CopyItem, ImageCopy, Platform, Source as _,
    build::{ArtifactBuilder, Built, ImageBuilder, IndexBuilder, Layer, LayerBuilder},
    retag,
};
use serde_json::{Value, json};
use std::io::Read as _;

fn layer() -> Layer {
    let layer = LayerBuilder::new()
        .symlink("bin/alias", "app")
        .executable("bin/app", "#!/bin/sh\n");
    layer
        .file("etc/motd", "hello\n")
        .directory("var")
        .build()
        .unwrap()
}

fn image(platform: &str) -> ImageBuilder {
    ImageBuilder::new(Platform::parse(platform).unwrap()).layer(layer())
}

fn full() -> Built {
    image("linux/arm64/v8")
        .layer(layer())
        .entrypoint(["/bin/app", "run"])
        .command(["--fast"])
        .env("B", "2")
        .env("A", "1")
        .label("z", "last")
        .label("a", "first")
        .user("65532")
        .working_dir("/srv")
        .exposed_port("8080/tcp")
        .created("2026-01-02T03:04:05Z")
        .annotation("org.example.note", "kept")
        .build()
}

#[tokio::test]
async fn a_configuration_has_what_was_set() {
    let image = full();
    let manifest: Value = serde_json::from_slice(&image.manifest().bytes).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap().parse().unwrap();
    let config = read(image.blob(&config, 0).await.unwrap().unwrap().stream)
        .await
        .unwrap();
    let id = layer().diff_id().to_string();

    assert_eq!(
        serde_json::from_slice::<Value>(&config).unwrap(),
        json!({
            "architecture": "arm64", "os": "linux", "variant": "v8", "created": "2026-01-02T03:04:05Z",
            "config": {
                "User": "65532", "ExposedPorts": {"8080/tcp": {}}, "Env": ["B=2", "A=1"],
                "Entrypoint": ["/bin/app", "run"], "Cmd": ["--fast"], "WorkingDir": "/srv",
                "Labels": {"a": "first", "z": "last"},
            },
            "rootfs": {"type": "layers", "diff_ids": [id.clone(), id]},
        })
    );
    assert_eq!(manifest["annotations"], json!({"org.example.note": "kept"}));
}

#[test]
fn the_same_calls_make_the_same_digests_on_every_machine() {
    let index = IndexBuilder::new()
        .entry(image("linux/amd64").build())
        .entry(full());
    let report = ArtifactBuilder::new(MediaType::parse("application/vnd.example").unwrap());
    let report = report
        .file("report.txt", "fine")
        .subject(full().descriptor())
        .annotation("a", "b");
    // Users compare digests of what they build. A change is a breaking one, and has a line in the list of changes.
    for (found, expected) in [
        (
            layer().diff_id(),
            "sha256:2883dc1567049f6cf39013b36f9205baaa2747b1da8c294df256395fd4337a31",
        ),
        (
            full().digest(),
            "sha256:a43e1a45145d2f9a49caa07818b5d246d840631e493ceda7d02f030f0e5b5fbc",
        ),
        (
            index.annotation("c", "d").build().digest(),
            "sha256:a026ec0e7adcca01b44528201831c3511923d0f6e2aaa063227d7369a039f672",
        ),
        (
            report.build().digest(),
            "sha256:812aa5e4885eec1671227822be220bc4097b7d0bc488fbbf5cab7a0374f19d11",
        ),
    ] {
        assert_eq!(found.to_string(), expected);
    }
}

#[tokio::test]
async fn an_index_and_an_artifact_are_copied_with_everything() {
    let to = repository("to");
    let index = IndexBuilder::new()
        .entry(image("linux/amd64").build())
        .entry(full())
        .build();
    let artifact = ArtifactBuilder::new(MediaType::parse("application/vnd.example").unwrap());
    let artifact = artifact.subject(index.descriptor()).build();
    let item = CopyItem::digest(index.digest()).with_tags([tag("v1")]);

    ImageCopy::new(&index, &to).run(&[item]).await.unwrap();
    ImageCopy::new(&artifact, &to)
        .run(&[CopyItem::digest(artifact.digest())])
        .await
        .unwrap();

    assert_same(&to, &to, &index.digest()).await;
    let referrers = to
        .referrers(&index.digest(), None, &Default::default())
        .await
        .unwrap();
    assert_eq!(referrers.items[0].digest, artifact.digest());
    assert_eq!(
        referrers.items[0].artifact_type.as_deref(),
        Some("application/vnd.example")
    );

    let arm = repository("arm");
    let narrowed = ImageCopy::new(&index, &arm).platforms([Platform::parse("linux/arm64").unwrap()]);
    let report = narrowed.run(&[CopyItem::digest(index.digest())]).await.unwrap();
    assert_eq!(report.copied[0].target, full().digest());
}

#[test]
fn a_layer_is_an_archive_in_the_order_of_its_paths() {
    let bytes = layer().gzip().bytes().clone();
    let mut plain = Vec::new();
    GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
    assert_eq!(sha256(&plain), layer().gzip().diff_id());

    let mut archive = tar::Archive::new(&*plain);
    let entries = archive.entries().unwrap().map(|entry| {
        let entry = entry.unwrap();
        let link = entry
            .link_name()
            .unwrap()
            .map(|link| link.to_str().unwrap().to_owned());
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        (path, entry.header().mode().unwrap(), link)
    });
    let entry = |path: &str, mode, link: Option<&str>| (path.to_owned(), mode, link.map(ToOwned::to_owned));
    assert_eq!(
        entries.collect::<Vec<_>>(),
        [
            entry("bin/alias", 0o777, Some("app")),
            entry("bin/app", 0o755, None),
            entry("etc/motd", 0o644, None),
            entry("var", 0o755, None),
        ]
    );
}

#[test]
fn paths_that_lead_out_of_an_image_are_refused() {
    for path in ["", "/etc/motd", "etc/../motd", "a//b", "./a", "a/", "a\0b"] {
        let refused = LayerBuilder::new()
            .file(path, "")
            .build()
            .unwrap_err()
            .to_string();
        assert!(refused.contains(&format!("{path:?}")), "{refused}");
    }
}

#[tokio::test]
async fn tags_are_moved_within_a_repository() {
    let to = repository("team/app");
    let image = full();
    let item = CopyItem::digest(image.digest()).with_tags([tag("v1")]);
    ImageCopy::new(&image, &to).run(&[item]).await.unwrap();

    let moved = retag(&to, &(&tag("v1")).into(), &[tag("stable"), tag("latest")])
        .await
        .unwrap();

    assert_eq!(moved, image.digest());
    for name in ["stable", "latest"] {
        assert_eq!(to.manifest(name).await.unwrap().unwrap().digest, moved);
    }
    let refused = retag(&to, &(&tag("v9")).into(), &[tag("x")]).await.unwrap_err();
    assert_eq!(refused.to_string(), "team/app has no manifest v9");
}
