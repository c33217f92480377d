//! Copies that change the compression of layers and the media types of images.

use crate::fixture::{
    CONFIG, LAYER, artifact, assert_same, descriptor, digest_of, document, image, index, put, repository,
    sha256, tag,
};
use flate2::read::GzDecoder;
use registry_core::{Digest, MediaType, Repository};
use registry_image::{
    ArchiveReader, Compression, CopyItem, Error, Event, Export, Format, ImageCopy, Layout, Names, Platform,
    Report,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Read as _,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

fn gzip(media_type: &str) -> String {
    match media_type {
        LAYER => format!("{LAYER}+gzip"),
        other => format!("{other}.gzip"),
    }
}

/// Puts an index of two images that share a layer, under `v1`.
async fn app(from: &Repository) -> (Digest, Vec<Value>) {
    let entries = vec![
        image(from, "amd64", &["base", "amd64"]).await,
        image(from, "arm64", &["base", "arm64"]).await,
    ];
    (digest_of(&index(from, &entries, &["v1"]).await), entries)
}

async fn copy<'a>(
    from: &'a Repository,
    to: &'a Repository,
    options: impl FnOnce(ImageCopy<'a>) -> ImageCopy<'a>,
) -> Result<Report, Error> {
    let items = [CopyItem::tag(tag("v1"))];
    options(ImageCopy::new(from, to)).run(&items).await
}

async fn compressed(from: &Repository, to: &Repository, compression: Compression) -> Digest {
    let report = copy(from, to, |copy| copy.compress(compression)).await.unwrap();
    report.copied[0].target
}

async fn json_of(from: &Repository, digest: impl Into<registry_core::Reference>) -> Value {
    let found = from.manifest(digest.into()).await.unwrap().unwrap();
    serde_json::from_slice(&found.bytes).unwrap()
}

async fn blob(from: &Repository, descriptor: &Value) -> Vec<u8> {
    let read = from.read_blob(&digest_of(descriptor), 1 << 20).await;
    read.unwrap().unwrap().to_vec()
}

#[tokio::test]
async fn layers_are_compressed_and_everything_else_is_kept() {
    let (from, to) = (repository("from"), repository("to"));
    let (root, entries) = app(&from).await;
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let seen = Arc::clone(&events);

    let report = copy(&from, &to, |copy| {
        copy.compress(Compression::Gzip).on_event(move |event| {
            if matches!(event, Event::BlobConverted { .. }) {
                seen.lock().unwrap().push(event.clone());
            }
        })
    })
    .await
    .unwrap();

    let copied = &report.copied[0];
    assert_eq!(copied.source, root);
    assert_ne!(copied.target, root);
    assert_eq!(
        events.lock().unwrap().len(),
        3,
        "the shared layer is converted once"
    );
    let index = json_of(&to, copied.target).await;
    for (entry, original) in index["manifests"].as_array().unwrap().iter().zip(&entries) {
        assert_eq!(entry["platform"], original["platform"]);
        let found = to.manifest(digest_of(entry)).await.unwrap().unwrap();
        assert_eq!(entry["size"], found.bytes.len());
        let (image, original) = (
            json_of(&to, digest_of(entry)).await,
            document(&from, original).await,
        );
        assert_eq!(image["config"], original["config"]);
        let layers = image["layers"].as_array().unwrap();
        for (layer, original) in layers.iter().zip(original["layers"].as_array().unwrap()) {
            assert_eq!(layer["mediaType"], gzip(LAYER));
            let bytes = blob(&to, layer).await;
            assert_eq!(layer["size"], bytes.len());
            let mut plain = Vec::new();
            GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
            assert_eq!(sha256(plain), digest_of(original));
        }
    }
    // Again, also from what is compressed already.
    assert_eq!(
        compressed(&from, &repository("again"), Compression::Gzip).await,
        copied.target
    );
    assert_eq!(
        compressed(&to, &repository("again"), Compression::Gzip).await,
        copied.target
    );
}

#[tokio::test]
async fn each_compression_leads_back_to_the_same_layers() {
    let (from, gzip, zstd, none) = (
        repository("from"),
        repository("gzip"),
        repository("zstd"),
        repository("none"),
    );
    let (root, entries) = app(&from).await;

    let first = compressed(&from, &gzip, Compression::Gzip).await;
    let second = compressed(&gzip, &zstd, Compression::Zstd).await;
    let third = compressed(&zstd, &none, Compression::None).await;

    assert!(first != second && second != third && first != third);
    let layers = |index: Value, repository: Repository| async move {
        let image = json_of(&repository, digest_of(&index["manifests"][0])).await;
        image["layers"].clone()
    };
    let of_zstd = layers(json_of(&zstd, second).await, zstd.clone()).await;
    assert_eq!(of_zstd[0]["mediaType"], format!("{LAYER}+zstd"));
    let plain = layers(json_of(&none, third).await, none.clone()).await;
    assert_eq!(plain, document(&from, &entries[0]).await["layers"]);
    // Nothing changes, so nothing is written again.
    assert_eq!(
        compressed(&from, &repository("same"), Compression::None).await,
        root
    );
}

#[tokio::test]
async fn the_same_layer_gets_the_same_bytes_each_time() {
    let from = repository("from");
    let layer = "a layer, a layer, a layer ".repeat(1000);
    put(
        &from,
        &document(&from, &image(&from, "amd64", &[&layer]).await).await,
        &["v1"],
    )
    .await;

    // Archives are compared by their digests. A change has a line in the list of changes.
    for (compression, digest) in [
        (
            Compression::Gzip,
            "sha256:f4aa19d9f5ec03a3d11effffb884eecdd916b3f70a7374a1cc327db361873682",
        ),
        (
            Compression::Zstd,
            "sha256:86e14934f96f4d0022c6fdf734a53e269ae2b3e228a50c663329bbd6dc2c8e4e",
        ),
    ] {
        let to = repository("to");
        let image = json_of(&to, compressed(&from, &to, compression).await).await;
        assert_eq!(image["layers"][0]["digest"], digest, "{compression:?}");
    }
}

#[tokio::test]
async fn media_types_of_docker_lead_back_to_those_of_oci() {
    let (from, docker, oci) = (repository("from"), repository("docker"), repository("oci"));
    let (root, _) = app(&from).await;
    let extra = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "annotations": {"x": "y"},
        "manifests": json_of(&from, root).await["manifests"]});
    put(&from, &extra, &["v1"]).await;

    let report = copy(&from, &docker, |copy| {
        copy.format(Format::Docker).compress(Compression::Gzip)
    })
    .await
    .unwrap();

    let list = json_of(&docker, report.copied[0].target).await;
    assert_eq!(list["mediaType"], MediaType::DOCKER_LIST);
    assert_eq!(list["annotations"], json!({"x": "y"}), "what is unknown is kept");
    let entry = &list["manifests"][0];
    assert_eq!(entry["mediaType"], MediaType::DOCKER_MANIFEST);
    let image = json_of(&docker, digest_of(entry)).await;
    assert_eq!(image["mediaType"], MediaType::DOCKER_MANIFEST);
    assert_eq!(image["config"]["mediaType"], DOCKER_CONFIG);
    assert_eq!(image["layers"][0]["mediaType"], gzip(DOCKER_LAYER));

    let report = copy(&docker, &oci, |copy| copy.format(Format::Oci))
        .await
        .unwrap();
    let index = json_of(&oci, report.copied[0].target).await;
    assert_eq!(index["mediaType"], MediaType::OCI_INDEX);
    let converted = json_of(&oci, digest_of(&index["manifests"][0])).await;
    assert_eq!(converted["mediaType"], MediaType::OCI_MANIFEST);
    assert_eq!(converted["config"]["mediaType"], CONFIG);
    assert_eq!(converted["layers"][0]["mediaType"], gzip(LAYER));
    assert_eq!(converted["layers"][0]["digest"], image["layers"][0]["digest"]);

    let again = copy(&oci, &repository("again"), |copy| copy.format(Format::Oci)).await;
    let again = &again.unwrap().copied[0];
    assert_eq!(again.source, again.target);
}

async fn refusal(from: &Repository, options: impl FnOnce(ImageCopy<'_>) -> ImageCopy<'_>) -> String {
    let to = repository("to");
    let items = [CopyItem::tag(tag("v1"))];
    let refused = options(ImageCopy::new(from, &to)).run(&items).await;
    let message = refused.unwrap_err().to_string();
    assert!(to.manifest("v1").await.unwrap().is_none());
    message
}

#[tokio::test]
async fn what_docker_has_no_form_for_is_refused() {
    const fn docker(copy: ImageCopy<'_>) -> ImageCopy<'_> {
        copy.format(Format::Docker)
    }

    let from = repository("from");
    let subject = image(&from, "amd64", &["layer"]).await;
    let report = document(&from, &artifact(&from, "report", &subject).await).await;
    put(&from, &report, &["v1"]).await;
    let message = refusal(&from, docker).await;
    assert!(message.contains("it is no image"), "{message}");

    let mut referrer = document(&from, &subject).await;
    referrer["subject"] =
        json!({"mediaType": MediaType::OCI_MANIFEST, "digest": subject["digest"], "size": subject["size"]});
    put(&from, &referrer, &["v1"]).await;
    let message = refusal(&from, docker).await;
    assert!(message.contains("`subject`"), "{message}");

    put(&from, &document(&from, &subject).await, &["v1"]).await;
    let message = refusal(&from, |copy| docker(copy).compress(Compression::Zstd)).await;
    assert!(message.contains("zstd"), "{message}");
    let zstd = repository("zstd");
    compressed(&from, &zstd, Compression::Zstd).await;
    let message = refusal(&zstd, docker).await;
    assert!(message.contains("choose gzip"), "{message}");

    // Everything else is kept in the format of OCI.
    put(&from, &report, &["v1"]).await;
    let to = repository("to");
    let kept = copy(&from, &to, |copy| {
        copy.format(Format::Oci).compress(Compression::Zstd)
    });
    let kept = &kept.await.unwrap().copied[0];
    assert_eq!(kept.source, kept.target);
}

#[tokio::test]
async fn attestations_of_images_that_change_are_refused_and_one_platform_goes_without() {
    let from = repository("from");
    let app = image(&from, "amd64", &["layer"]).await;
    from.push_blob("{}", None).await.unwrap();
    let config = json!({"architecture": "unknown", "os": "unknown"}).to_string();
    from.push_blob(config.clone(), None).await.unwrap();
    let attestation = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(CONFIG, config.as_bytes()),
        "layers": [descriptor("application/vnd.in-toto+json", b"{}")],
    });
    let mut attestation = put(&from, &attestation, &[]).await;
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.digest": app["digest"]});
    let root = index(&from, &[app.clone(), attestation], &["v1"]).await;

    let message = refusal(&from, |copy| copy.compress(Compression::Gzip)).await;
    assert!(message.contains("attestations"), "{message}");
    let unchanged = compressed(&from, &repository("to"), Compression::None).await;
    assert_eq!(unchanged, digest_of(&root));
    let platform = Platform::parse("linux/amd64").unwrap();
    let to = repository("to");
    let report = copy(&from, &to, |copy| {
        copy.compress(Compression::Gzip).platforms([platform])
    });
    let copied = &report.await.unwrap().copied[0];
    assert!(copied.target != digest_of(&app) && copied.source == digest_of(&root));
}

#[tokio::test]
async fn an_index_without_all_its_images_is_not_converted() {
    let from = repository("from");
    let (_, mut entries) = app(&from).await;
    let absent = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST}).to_string();
    entries.push(descriptor(MediaType::OCI_MANIFEST, absent.as_bytes()));
    let root = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": entries});
    let directory = tempfile::tempdir().unwrap();
    let to = registry_image::LayoutWriter::create(directory.path()).unwrap();
    ImageCopy::new(&from, &to)
        .run(&[CopyItem::tag(tag("v1"))])
        .await
        .unwrap();
    let bytes = root.to_string();
    let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
    let manifest = registry_core::storage::StoredManifest::new(sha256(&bytes), media_type, bytes.into());
    registry_image::Target::put_manifest(&to, &manifest, &[tag("v1")])
        .await
        .unwrap();
    registry_image::Target::finish(&to).await.unwrap();
    let layout = Layout::open(directory.path()).unwrap();

    let items = [CopyItem::tag(tag("v1"))];
    let target = repository("to");
    let refused = ImageCopy::new(&layout, &target)
        .compress(Compression::Gzip)
        .run(&items)
        .await;

    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("is absent") && message.contains(&sha256(&absent).to_string()),
        "{message}"
    );
}

/// Writes a layout with these blobs, whose `v1` is the last of them.
fn layout(directory: &TempDir, blobs: &[&str], media_type: &str) -> Layout {
    let root = directory.path();
    fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    for blob in blobs {
        fs::write(root.join("blobs/sha256").join(sha256(blob).hex()), blob).unwrap();
    }
    let mut entry = descriptor(media_type, blobs.last().unwrap().as_bytes());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(root.join("index.json"), index.to_string()).unwrap();
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    Layout::open(root).unwrap()
}

#[tokio::test]
async fn a_document_that_clients_read_differently_is_copied_and_not_rewritten() {
    let to = repository("to");
    let config = |layer: &str| {
        let diff_ids = [sha256(layer).to_string()];
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}}).to_string()
    };
    let configs = ["a", "b"].map(config);
    let image = |layers: &str, config: &str| {
        let (media_type, config) = (MediaType::OCI_MANIFEST, descriptor(CONFIG, config.as_bytes()));
        format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{config},{layers}}}"#)
    };
    let layer = |layer: &str| descriptor(LAYER, layer.as_bytes());
    let images = [("a", 0), ("b", 1)].map(|(name, number)| {
        let layers = format!(r#""layers":[{}]"#, layer(name));
        image(&layers, &configs[number])
    });
    let entry = |number: usize| descriptor(MediaType::OCI_MANIFEST, images[number].as_bytes());
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{}],"manifests":[{}]}}"#,
        MediaType::OCI_INDEX,
        entry(0),
        entry(1)
    );
    let config =
        json!({"rootfs": {"diff_ids": [sha256("a").to_string(), sha256("b").to_string()]}}).to_string();
    let repeated = image(
        &format!(r#""layers":[{}],"Layers":[{}]"#, layer("a"), layer("b")),
        &config,
    );
    let [of_a, of_b] = &images;
    let blobs = ["a", "b", &configs[0], &configs[1], &config, of_a, of_b];

    for (document, media_type) in [
        (&index, MediaType::OCI_INDEX),
        (&repeated, MediaType::OCI_MANIFEST),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let from = layout(&directory, &[&blobs[..], &[document]].concat(), media_type);
        let items = [CopyItem::tag(tag("v1"))];
        let copy = ImageCopy::new(&from, &to).compress(Compression::Gzip);
        let message = copy.run(&items).await.unwrap_err().to_string();
        assert!(
            message.contains(&sha256(document).to_string()) && message.contains("copy it as it is"),
            "{message}"
        );
    }
}

/// Puts an image whose layer is described as this value says.
async fn described(from: &Repository, content: &[u8], diff_id: Digest, change: Value) {
    let config =
        json!({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [diff_id.to_string()]}});
    let config = config.to_string();
    from.push_blob(config.clone(), None).await.unwrap();
    from.push_blob(content.to_vec(), None).await.unwrap();
    let mut layer = descriptor(LAYER, content);
    layer
        .as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(CONFIG, config.as_bytes()), "layers": [layer],
    });
    put(from, &manifest, &["v1"]).await;
}

#[tokio::test]
async fn a_layer_that_is_not_the_one_of_the_config_is_refused() {
    let from = repository("from");
    described(&from, b"layer", sha256("another layer"), json!({})).await;
    let message = refusal(&from, |copy| {
        copy.compress(Compression::Gzip).on_event(|event| {
            let is_kept = matches!(event, Event::BlobConverted { .. });
            assert!(!is_kept, "a refused layer is not kept");
        })
    })
    .await;
    assert!(
        message.contains(&sha256("another layer").to_string())
            && message.contains(&sha256("layer").to_string()),
        "{message}"
    );

    described(
        &from,
        b"\x1f\x8b\x08 no gzip",
        sha256("x"),
        json!({"mediaType": gzip(LAYER)}),
    )
    .await;
    let message = refusal(&from, |copy| copy.compress(Compression::None)).await;
    assert!(
        message.contains(&sha256(b"\x1f\x8b\x08 no gzip").to_string()),
        "{message}"
    );
}

#[tokio::test]
async fn frames_of_zstd_that_are_skipped_are_no_part_of_a_layer() {
    let skipped = |magic: u8, content: &[u8]| {
        let size = u32::try_from(content.len()).unwrap().to_le_bytes();
        [&[magic, 0x2a, 0x4d, 0x18][..], &size, content].concat()
    };
    let frame = |content: &[u8]| {
        ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
    };
    // pzstd begins with such a frame, zstd:chunked ends with them. The long one does not fit into a buffer.
    let layer = [
        skipped(0x50, b"\x01\x02"),
        frame(b"one, "),
        skipped(0x5f, &[0x28; 10_000]),
        skipped(0x5a, b""),
        frame(b"two"),
        skipped(0x50, b"table of contents"),
    ]
    .concat();
    let change = json!({"mediaType": format!("{LAYER}+zstd")});
    let (from, to) = (repository("from"), repository("to"));
    described(&from, &layer, sha256("one, two"), change.clone()).await;

    let converted = compressed(&from, &to, Compression::None).await;

    let image = json_of(&to, converted).await;
    assert_eq!(blob(&to, &image["layers"][0]).await, b"one, two");
    let cut = layer.get(..layer.len() - 1).unwrap();
    described(&from, cut, sha256("one, two"), change).await;
    let message = refusal(&from, |copy| copy.compress(Compression::None)).await;
    assert!(message.contains(&sha256(cut).to_string()), "{message}");
}

#[tokio::test]
async fn a_layer_that_grows_without_end_is_refused() {
    let from = repository("from");
    let bomb = ruzstd::encoding::compress_to_vec(
        std::io::Read::take(std::io::repeat(0), 65 << 20),
        ruzstd::encoding::CompressionLevel::Fastest,
    );
    described(
        &from,
        &bomb,
        sha256("x"),
        json!({"mediaType": format!("{LAYER}+zstd")}),
    )
    .await;

    let message = refusal(&from, |copy| copy.compress(Compression::None)).await;

    assert!(
        message.contains("1100 times") && message.contains(&sha256(&bomb).to_string()),
        "{message}"
    );
}

#[tokio::test]
async fn layers_whose_bytes_are_elsewhere_are_kept() {
    let from = repository("from");
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    for change in [
        json!({"mediaType": foreign}),
        json!({"urls": ["https://example.com/layer"]}),
    ] {
        described(&from, b"layer", sha256("layer"), change).await;
        let kept = copy(&from, &repository("to"), |copy| copy.compress(Compression::Gzip)).await;
        let kept = &kept.unwrap().copied[0];
        assert_eq!(kept.source, kept.target);
    }
    described(&from, b"layer", sha256("layer"), json!({"mediaType": foreign})).await;
    let to = repository("to");
    let report = copy(&from, &to, |copy| copy.format(Format::Docker))
        .await
        .unwrap();
    let image = json_of(&to, report.copied[0].target).await;
    assert_eq!(
        image["layers"][0]["mediaType"],
        "application/vnd.docker.image.rootfs.foreign.diff.tar"
    );
    assert_eq!(image["layers"][0]["digest"], sha256("layer").to_string());
}

#[tokio::test]
async fn a_descriptor_forgets_what_it_says_about_the_old_bytes() {
    let from = repository("from");
    let change = json!({"data": "bGF5ZXI=", "annotations": {
        "containerd.io/snapshot/stargz/toc.digest": "sha256:00", "io.github.containers.zstd-chunked.manifest-checksum": "x",
        "org.example.kept": "1",
    }});
    described(&from, b"layer", sha256("layer"), change).await;
    let to = repository("to");

    let image = json_of(&to, compressed(&from, &to, Compression::Gzip).await).await;

    let layer = &image["layers"][0];
    assert_eq!(layer["annotations"], json!({"org.example.kept": "1"}));
    assert!(layer.get("data").is_none());
}

#[tokio::test]
async fn referrers_of_what_changes_are_reported_and_not_copied() {
    let from = repository("from");
    let (root, entries) = app(&from).await;
    let of_image = digest_of(&artifact(&from, "report", &entries[0]).await);
    let of_index = json!({"mediaType": MediaType::OCI_INDEX, "digest": root.to_string(), "size": 1});
    let of_index = digest_of(&artifact(&from, "signature", &of_index).await);
    let name = format!("sha256-{}.sig", digest_of(&entries[1]).hex());
    let signature = image(&from, "", &["cosign"]).await;
    put(&from, &document(&from, &signature).await, &[&name]).await;
    let platform = || Platform::parse("linux/amd64").unwrap();

    for (compression, platforms, expected) in [
        (
            Some(Compression::Gzip),
            None,
            vec![
                (digest_of(&entries[0]), of_image),
                (digest_of(&entries[1]), digest_of(&signature)),
                (root, of_index),
            ],
        ),
        // The image is the same, and so are its referrers.
        (None, Some(platform()), vec![(root, of_index)]),
        (Some(Compression::None), None, vec![]),
    ] {
        let to = repository("to");
        let events: Arc<Mutex<Vec<(Digest, Digest)>>> = Arc::default();
        let seen = Arc::clone(&events);
        let report = copy(&from, &to, |mut copy| {
            if let Some(compression) = compression {
                copy = copy.compress(compression);
            }
            let copy = copy.platforms(platforms).referrers(true);
            copy.on_event(move |event| {
                if let Event::ReferrerNotCopied { subject, digest, .. } = event {
                    seen.lock().unwrap().push((*subject, *digest));
                }
            })
        })
        .await
        .unwrap();

        let mut expected = expected;
        expected.sort();
        let mut found = events.lock().unwrap().clone();
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(report.referrers_not_copied, expected.len() as u64);
        for (_, referrer) in expected {
            assert!(to.manifest(referrer).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn an_archive_is_converted_with_the_same_digests_as_a_copy() {
    let (from, to) = (repository("from"), repository("to"));
    app(&from).await;
    let items = [CopyItem::tag(tag("v1"))];
    let spool = tempfile::tempdir().unwrap();
    let export = Export::new()
        .add(&from, &items, Names::of_repository("registry.example.com/app"))
        .compress(Compression::Zstd)
        .spool_in(spool.path());
    let (mut first, mut second) = (Vec::new(), Vec::new());

    let exported = export.write(&mut first).await.unwrap();
    export.write(&mut second).await.unwrap();

    assert_eq!(first, second);
    assert_eq!(
        exported.copied[0].target,
        compressed(&from, &to, Compression::Zstd).await
    );
    assert_eq!(
        spool.path().read_dir().unwrap().count(),
        0,
        "the files have no names"
    );
    let imported = repository("imported");
    let archive = ArchiveReader::new().read("app.tar", &*first).unwrap();
    ImageCopy::new(&archive, &imported).run(&items).await.unwrap();
    assert_same(&to, &imported, &exported.copied[0].target).await;

    // The next export finds the same digests in the list.
    let mut third = Vec::new();
    let exported = export.since(exported.contents).write(&mut third).await.unwrap();
    assert_eq!((exported.blobs, exported.left_out), (0, 5));
}

#[tokio::test]
async fn many_layers_need_few_open_files() {
    let (from, to) = (repository("from"), repository("to"));
    let layers: Vec<_> = (0..64).map(|number| number.to_string()).collect();
    let layers: Vec<_> = layers.iter().map(|layer| &**layer).collect();
    let image = image(&from, "amd64", &layers).await;
    put(&from, &document(&from, &image).await, &["v1"]).await;
    let most = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&most);
    let open = || {
        fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter(|found| {
                let target = fs::read_link(found.as_ref().unwrap().path()).unwrap_or_default();
                target.starts_with(env!("CARGO_TARGET_TMPDIR"))
            })
            .count()
    };

    let report = copy(&from, &to, |copy| {
        let copy = copy
            .compress(Compression::Gzip)
            .spool_in(env!("CARGO_TARGET_TMPDIR"));
        copy.on_event(move |event| {
            if matches!(event, Event::BlobConverted { .. } | Event::BlobStarted { .. }) {
                let mut most = seen.lock().unwrap();
                *most = open().max(*most);
            }
        })
    });
    report.await.unwrap();

    assert!((1..10).contains(&*most.lock().unwrap()), "{most:?}");
}

#[tokio::test]
async fn a_directory_for_layers_that_does_not_exist_is_named() {
    let from = repository("from");
    app(&from).await;

    let message = refusal(&from, |copy| {
        copy.compress(Compression::Gzip).spool_in("/nowhere/at/all")
    })
    .await;

    assert!(message.contains("/nowhere/at/all"), "{message}");
}
