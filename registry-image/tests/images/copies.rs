//! Copies that succeed.

use crate::fixture::{
    CONFIG, artifact, assert_same, descriptor, digest_of, document, image, index, put, repository, sha256,
    tag,
};
use registry_core::{MediaType, Reference, Registry, storage::MemoryStorage};
use registry_image::{
    CopyItem, Error, Event, Export, ImageCopy, Layout, LayoutWriter, Names, Origin, Platform, Source as _,
    Target,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

#[tokio::test]
async fn an_index_is_copied_with_all_its_images_and_then_skipped() {
    let (from, to) = (repository("team/app"), repository("mirror/app"));
    let entries = [
        image(&from, "amd64", &["base", "amd64"]).await,
        image(&from, "arm64", &["base", "arm64"]).await,
    ];
    let root = digest_of(&index(&from, &entries, &["v1"]).await);
    let items = [CopyItem::tag(tag("v1")).with_tags([tag("v1"), tag("latest")])];

    let first = ImageCopy::new(&from, &to).run(&items).await.unwrap();
    let second = ImageCopy::new(&from, &to).run(&items).await.unwrap();

    assert_same(&from, &to, &root).await;
    for name in ["v1", "latest"] {
        assert_eq!(to.manifest(name).await.unwrap().unwrap().digest, root);
    }
    // Two configs, and three layers, one of which both images have.
    assert_eq!((first.blobs, first.skipped), (5, 0));
    assert_eq!(first.copied[0].target, root);
    assert_eq!((second.blobs, second.skipped), (0, 5));
}

#[tokio::test]
async fn blobs_of_the_same_registry_are_mounted() {
    let registry = Registry::builder(MemoryStorage::new()).build();
    let (from, to) = (
        registry.repository("a").unwrap(),
        registry.repository("b").unwrap(),
    );
    let root = digest_of(&image(&from, "amd64", &["layer"]).await);

    let report = ImageCopy::new(&from, &to)
        .run(&[CopyItem::digest(root)])
        .await
        .unwrap();

    assert_eq!((report.mounted, report.blobs), (2, 0));
    assert_same(&from, &to, &root).await;
}

#[tokio::test]
async fn a_source_that_only_names_a_blob_does_not_obtain_that_of_another_repository() {
    let registry = Registry::builder(MemoryStorage::new()).build();
    let (private, to) = (
        registry.repository("tenant/private").unwrap(),
        registry.repository("other/app").unwrap(),
    );
    let layer = private.push_blob("private layer", None).await.unwrap();
    let from = repository("tenant/private");
    let root = digest_of(&image(&from, "amd64", &["private layer"]).await);
    let directory = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::create(directory.path()).unwrap();
    ImageCopy::new(&from, &writer)
        .run(&[CopyItem::digest(root)])
        .await
        .unwrap();
    drop(writer);
    let blobs = directory.path().join("blobs/sha256");
    std::fs::remove_file(blobs.join(layer.digest.hex())).unwrap();
    let hostile = Layout::open(directory.path()).unwrap();

    let refused = ImageCopy::new(&hostile, &to)
        .run(&[CopyItem::digest(root)])
        .await
        .unwrap_err();

    assert!(matches!(refused, Error::NoBlob { .. }), "{refused}");
    assert!(to.blob(&layer.digest).await.unwrap().is_none());
    let elsewhere = Origin::at("registry.example.com", private.name().clone());
    let mounted = Target::mount(&to, &layer.digest, layer.size, Some(&elsewhere)).await;
    assert!(!mounted.unwrap());
}

#[tokio::test]
async fn referrers_and_signature_tags_are_copied_on_demand() {
    let (from, to) = (repository("from"), repository("to"));
    let app = image(&from, "amd64", &["layer"]).await;
    let root = digest_of(&app);
    let report = artifact(&from, "report", &app).await;
    let of_report = artifact(&from, "signature of the report", &report).await;
    let name = format!("sha256-{}.sig", root.hex());
    let signature = image(&from, "", &["cosign"]).await;
    put(&from, &document(&from, &signature).await, &[&name]).await;
    let items = [CopyItem::digest(root)];

    ImageCopy::new(&from, &to).run(&items).await.unwrap();
    assert!(to.manifest(digest_of(&report)).await.unwrap().is_none());
    assert!(to.manifest(&name).await.unwrap().is_none());

    ImageCopy::new(&from, &to)
        .referrers(true)
        .run(&items)
        .await
        .unwrap();
    for copied in [&app, &report, &of_report, &signature] {
        assert_same(&from, &to, &digest_of(copied)).await;
    }
    assert_eq!(
        to.manifest(&name).await.unwrap().unwrap().digest,
        digest_of(&signature)
    );
}

#[tokio::test]
async fn a_referrer_that_lists_the_parent_of_its_subject_is_copied_after_that() {
    let (from, to) = (repository("from"), repository("to"));
    let images = [
        image(&from, "amd64", &["amd64"]).await,
        image(&from, "arm64", &["arm64"]).await,
    ];
    let root = index(&from, &images, &["v1"]).await;
    let mut release = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [root]});
    release["subject"] = images[0].clone();
    let release = put(&from, &release, &[]).await;

    ImageCopy::new(&from, &to)
        .referrers(true)
        .run(&[CopyItem::tag(tag("v1"))])
        .await
        .unwrap();

    assert_same(&from, &to, &digest_of(&release)).await;
    assert!(to.manifest("v1").await.unwrap().is_some());
}

#[tokio::test]
async fn platforms_narrow_an_index_and_the_report_has_both_digests() {
    let from = repository("from");
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64", "s390x"] {
        entries.push(image(&from, architecture, &[architecture]).await);
    }
    let root = digest_of(&index(&from, &entries, &["v1"]).await);
    let wanted = |names: &[&str]| {
        let platforms = names
            .iter()
            .map(|name| Platform::parse(&format!("linux/{name}")).unwrap());
        platforms.collect::<Vec<_>>()
    };
    let items = [CopyItem::tag(tag("v1"))];

    let one = repository("one");
    let report = ImageCopy::new(&from, &one)
        .platforms(wanted(&["arm64"]))
        .run(&items)
        .await
        .unwrap();
    assert_eq!(
        (report.copied[0].source, report.copied[0].target),
        (root, digest_of(&entries[1]))
    );
    assert_eq!(report.blobs, 2);

    let two = repository("two");
    let copy = ImageCopy::new(&from, &two).platforms(wanted(&["arm64", "amd64"]));
    let target = copy.run(&items).await.unwrap().copied[0].target;
    for child in &entries[..2] {
        assert_same(&from, &two, &digest_of(child)).await;
    }
    let narrowed = two.manifest(target).await.unwrap().unwrap();
    let narrowed: Value = serde_json::from_slice(&narrowed.bytes).unwrap();
    assert_eq!(narrowed["manifests"], json!(entries[..2]));
    let again = copy.run(&items).await.unwrap().copied[0].target;
    assert_eq!(target, again);
    assert!(two.manifest(digest_of(&entries[2])).await.unwrap().is_none());
    assert!(two.manifest(root).await.unwrap().is_none());

    let missing = ImageCopy::new(&from, &two)
        .platforms(wanted(&["riscv64"]))
        .run(&items)
        .await;
    let message = missing.unwrap_err().to_string();
    assert!(message.contains("no image for linux/riscv64"), "{message}");
}

#[tokio::test]
async fn a_dry_run_reports_the_same_and_writes_nothing() {
    let (from, to) = (repository("from"), repository("to"));
    let entries = [image(&from, "amd64", &["layer"]).await];
    index(&from, &entries, &["v1"]).await;
    let items = [CopyItem::tag(tag("v1"))];

    let dry = ImageCopy::new(&from, &to)
        .dry_run(true)
        .run(&items)
        .await
        .unwrap();
    assert!(to.tags(&Default::default()).await.unwrap().is_none());
    let real = ImageCopy::new(&from, &to).run(&items).await.unwrap();

    assert_eq!((dry.blobs, dry.bytes), (real.blobs, real.bytes));
    assert_eq!(dry.copied[0].target, real.copied[0].target);
}

#[tokio::test]
async fn events_report_every_byte_and_the_tags_last() {
    let (from, to) = (repository("from"), repository("to"));
    let manifest = digest_of(&image(&from, "amd64", &["a layer"]).await);
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&events);

    let copy = ImageCopy::new(&from, &to).on_event(move |event| heard.lock().unwrap().push(event.clone()));
    let report = copy
        .run(&[CopyItem::digest(manifest).with_tags([tag("v1")])])
        .await
        .unwrap();

    let events = events.lock().unwrap();
    let bytes = events.iter().map(|event| match event {
        Event::BlobBytes { bytes, .. } => *bytes,
        _ => 0,
    });
    assert_eq!(bytes.sum::<u64>(), report.bytes);
    let Some(Event::ManifestCopied { digest, tags, .. }) = events.last() else {
        panic!("the manifest is last: {events:?}");
    };
    assert_eq!((digest, &tags[..]), (&manifest, &[tag("v1")][..]));
}

#[tokio::test]
async fn a_layer_that_may_not_be_distributed_is_reported_if_it_is_absent() {
    let (from, to) = (repository("from"), repository("to"));
    from.push_blob("{}", None).await.unwrap();
    let layer = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    let image = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST,
        "config": descriptor(CONFIG, b"{}"), "layers": [descriptor(layer, b"a licence")],
    });
    let items = [CopyItem::digest(digest_of(&put(&from, &image, &[]).await))];
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let listener = || {
        let heard = Arc::clone(&events);
        move |event: &Event| heard.lock().unwrap().push(event.clone())
    };

    let copy = ImageCopy::new(&from, &to).on_event(listener());
    copy.run(&items).await.unwrap();
    let export = Export::new()
        .add(&from, &items, Names::tags())
        .on_event(listener());
    export.write(&mut Vec::new()).await.unwrap();

    let is_absent =
        |event: &&Event| matches!(event, Event::BlobAbsent { digest, .. } if *digest == sha256("a licence"));
    assert_eq!(events.lock().unwrap().iter().filter(is_absent).count(), 2);
}

#[tokio::test]
async fn a_blob_can_be_read_from_any_offset() {
    let from = repository("from");
    let digest = from.push_blob("0123456789", None).await.unwrap().digest;

    for offset in [0, 4, 10] {
        let blob = registry_image::Source::blob(&from, &digest, offset)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(blob.size, 10);
        let read = crate::fixture::read(blob.stream).await.unwrap();
        assert_eq!(read, b"0123456789"[usize::try_from(offset).unwrap()..]);
    }
    assert!(registry_image::Source::blob(&from, &digest, 11).await.is_err());
    let absent = registry_image::Source::blob(&from, &sha256("absent"), 5).await;
    assert!(absent.unwrap().is_none());
}

#[tokio::test]
async fn a_tag_that_does_not_exist_is_named() {
    let (from, to) = (repository("from/app"), repository("to"));
    let refused = ImageCopy::new(&from, &to)
        .run(&[CopyItem::tag(tag("v9"))])
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "from/app has no manifest v9");
    let reference = Reference::parse("v9").unwrap();
    assert!(from.resolve(&reference).await.unwrap().is_none());
}

#[tokio::test]
async fn an_index_without_some_of_its_images_is_copied_where_the_target_accepts_that() {
    let sparse = |name| {
        let builder = Registry::builder(MemoryStorage::new()).allow_sparse_indexes();
        builder.build().repository(name).unwrap()
    };
    let (from, to) = (sparse("from"), sparse("to"));
    let absent = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": sha256("?").to_string(), "size": 1});
    let entries = [image(&from, "amd64", &["layer"]).await, absent];
    let root = digest_of(&index(&from, &entries, &["v1"]).await);
    let items = [CopyItem::tag(tag("v1"))];
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let heard = Arc::clone(&events);

    let strict = ImageCopy::new(&from, &to)
        .strict(true)
        .run(&items)
        .await
        .unwrap_err();
    assert!(strict.to_string().contains(&sha256("?").to_string()), "{strict}");
    assert!(to.manifest("v1").await.unwrap().is_none());

    let copy = ImageCopy::new(&from, &to).on_event(move |event| heard.lock().unwrap().push(event.clone()));
    copy.run(&items).await.unwrap();
    assert_eq!(to.manifest("v1").await.unwrap().unwrap().digest, root);
    let is_warning =
        |event: &&Event| matches!(event, Event::ImageAbsent { digest, .. } if *digest == sha256("?"));
    assert_eq!(events.lock().unwrap().iter().filter(is_warning).count(), 1);
}
