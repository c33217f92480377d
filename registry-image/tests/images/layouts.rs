//! Layouts in directories, as sources and as targets.

use crate::fixture::{
    artifact, assert_same, descriptor, digest_of, image, index, read, repository, sha256, tag,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, future::join, stream};
use registry_core::{Repository, Tag};
use registry_image::{
    CopyItem, Export, ImageCopy, Layout, LayoutWriter, Names, Source as _, Target as _, walk,
};
use serde_json::Value;
use std::{fs, path::Path, sync::Arc};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn blob(layout: &Path, content: impl AsRef<[u8]>) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(sha256(content).hex())
}

/// Writes the tags of a repository to a layout.
async fn export(from: &Repository, layout: &Path, names: Names, tags: &[&str]) {
    let writer = LayoutWriter::create(layout).unwrap().named(names);
    let items: Vec<_> = tags.iter().map(|name| CopyItem::tag(tag(name))).collect();
    ImageCopy::new(from, &writer)
        .referrers(true)
        .run(&items)
        .await
        .unwrap();
}

async fn app(from: &Repository) -> Value {
    let entries = [
        image(from, "amd64", &["base", "amd64"]).await,
        image(from, "arm64", &["base", "arm64"]).await,
    ];
    index(from, &entries, &["v1"]).await
}

#[tokio::test]
async fn a_layout_and_back_keeps_every_digest_and_the_referrers() {
    let (from, to, directory) = (repository("from"), repository("to"), directory());
    let root = app(&from).await;
    let report = artifact(&from, "report", &root).await;
    export(&from, directory.path(), Names::tags(), &["v1"]).await;

    let layout = Layout::open(directory.path()).unwrap();
    let tags: Vec<Tag> = walk::tags(&layout).try_collect().await.unwrap();
    assert_eq!(tags, [tag("v1")]);
    let items = [CopyItem::tag(tag("v1"))];
    ImageCopy::new(&layout, &to)
        .referrers(true)
        .run(&items)
        .await
        .unwrap();

    for copied in [&root, &report] {
        assert_same(&from, &to, &digest_of(copied)).await;
    }
    // The images of the index are found through it, and need no entry.
    assert_eq!(layout.entries().len(), 2);
}

#[tokio::test]
async fn a_layout_lists_an_image_that_was_requested_beside_its_index() {
    let (from, directory) = (repository("from"), directory());
    let image = image(&from, "amd64", &["layer"]).await;
    let root = digest_of(&index(&from, std::slice::from_ref(&image), &[]).await);
    let image = digest_of(&image);
    let writer = LayoutWriter::create(directory.path()).unwrap();

    ImageCopy::new(&from, &writer)
        .run(&[CopyItem::digest(root), CopyItem::digest(image)])
        .await
        .unwrap();

    let layout = Layout::open(directory.path()).unwrap();
    let entries = layout.entries().iter();
    let listed: Vec<_> = entries.map(|entry| entry.descriptor.digest).collect();
    assert_eq!(listed, [root, image]);
}

#[tokio::test]
async fn a_layout_gets_new_images_and_keeps_the_others() {
    let (from, directory) = (repository("from"), directory());
    let names = Names::of_repository("registry.example.com/team/app");
    let first = app(&from).await;
    export(&from, directory.path(), names.clone(), &["v1"]).await;
    let bytes = fs::read(directory.path().join("index.json")).unwrap();
    export(&from, directory.path(), names.clone(), &["v1"]).await;
    assert_eq!(fs::read(directory.path().join("index.json")).unwrap(), bytes);

    let second = index(&from, &[image(&from, "s390x", &["new"]).await], &["v1", "v2"]).await;
    export(&from, directory.path(), names, &["v1", "v2"]).await;

    let layout = Layout::open(directory.path()).unwrap();
    let found: Vec<_> = layout
        .entries()
        .iter()
        .map(|entry| (entry.reference(), entry.names(), entry.descriptor.digest))
        .collect();
    let name = |tag: &str| vec![format!("registry.example.com/team/app:{tag}")];
    assert_eq!(
        found,
        [
            (Some("v1"), &name("v1")[..], digest_of(&second)),
            (Some("v2"), &name("v2")[..], digest_of(&second)),
        ]
    );
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_tag_moves_to_the_last_of_two_images_in_one_copy() {
    let (from, directory) = (repository("from"), directory());
    let root = digest_of(&app(&from).await);
    let last = digest_of(&image(&from, "s390x", &["last"]).await);
    let writer = LayoutWriter::create(directory.path()).unwrap();
    let items = [root, last].map(|digest| CopyItem::digest(digest).with_tags([tag("v1")]));

    ImageCopy::new(&from, &writer).run(&items).await.unwrap();

    let layout = Layout::open(directory.path()).unwrap();
    let found = layout.resolve(&(&tag("v1")).into()).await.unwrap().unwrap();
    assert_eq!(found.digest, last);
}

#[tokio::test]
async fn a_layout_without_the_version_of_its_index_gets_one() {
    let (from, directory) = (repository("from"), directory());
    app(&from).await;
    fs::write(
        directory.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();
    let path = directory.path().join("index.json");
    fs::write(&path, r#"{"manifests":[]}"#).unwrap();
    assert!(Layout::open(directory.path()).is_ok());

    export(&from, directory.path(), Names::tags(), &["v1"]).await;

    let document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(document["schemaVersion"], 2);
    assert_eq!(Layout::open(directory.path()).unwrap().entries().len(), 1);
}

#[tokio::test]
async fn a_tag_of_several_repositories_needs_a_repository() {
    let directory = directory();
    let mut digests = Vec::new();
    for name in ["a", "b"] {
        let from = repository(name);
        let root = index(&from, &[image(&from, name, &[name]).await], &["v1"]).await;
        digests.push(digest_of(&root));
        let names = Names::of_repository(format!("registry.example.com/{name}")).full();
        export(&from, directory.path(), names, &["v1"]).await;
    }
    let layout = Layout::open(directory.path()).unwrap();
    let v1 = (&tag("v1")).into();

    let refused = layout.resolve(&v1).await.unwrap_err();
    assert!(
        refused.to_string().contains("several images have the tag v1"),
        "{refused}"
    );

    for (name, digest) in ["a", "b"].iter().zip(digests) {
        let only = layout.clone().only(&format!("registry.example.com/{name}"));
        assert_eq!(only.resolve(&v1).await.unwrap().unwrap().digest, digest);
    }
}

#[tokio::test]
async fn a_selected_repository_keeps_its_referrers() {
    let (from, directory) = (repository("from"), directory());
    let app = app(&from).await;
    let report = artifact(&from, "report", &app).await;
    let names = Names::of_repository("registry.example.com/a").full();
    export(&from, directory.path(), names, &["v1"]).await;
    let other = repository("other");
    let other_app = index(&other, &[image(&other, "s390x", &["other"]).await], &["v1"]).await;
    let other_report = artifact(&other, "another report", &other_app).await;
    let names = Names::of_repository("registry.example.com/b").full();
    export(&other, directory.path(), names, &["v1"]).await;
    let layout = Layout::open(directory.path()).unwrap();

    // A query before must not decide for the selection.
    walk::referrers(&layout, digest_of(&app))
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    let only = layout.only("registry.example.com/a");
    assert_eq!(only.entries().len(), 1);
    let to = repository("to");
    ImageCopy::new(&only, &to)
        .referrers(true)
        .run(&[CopyItem::tag(tag("v1"))])
        .await
        .unwrap();

    assert_same(&from, &to, &digest_of(&report)).await;
    assert!(to.manifest(digest_of(&other_report)).await.unwrap().is_none());
}

#[tokio::test]
async fn damage_is_found_while_reading_and_nothing_is_visible() {
    let (from, directory) = (repository("from"), directory());
    app(&from).await;
    export(&from, directory.path(), Names::tags(), &["v1"]).await;
    let damaged = blob(directory.path(), "amd64");
    let items = [CopyItem::tag(tag("v1"))];

    for (content, message) in [
        (&b"AMD64"[..], "is damaged: the content of"),
        (b"amd6", "has 4 bytes, but its descriptor gives 5"),
    ] {
        fs::write(&damaged, content).unwrap();
        let layout = Layout::open(directory.path()).unwrap();
        let to = repository("to");
        let error = ImageCopy::new(&layout, &to)
            .run(&items)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(message) && error.contains(&sha256("amd64").to_string()),
            "{error}"
        );
        assert!(to.manifest("v1").await.unwrap().is_none());
    }

    // From an offset, the bytes before it count too.
    fs::write(&damaged, b"AMD64").unwrap();
    let layout = Layout::open(directory.path()).unwrap();
    let stream = layout.blob(&sha256("amd64"), 3).await.unwrap().unwrap().stream;
    assert!(read(stream).await.is_err());
    let whole = layout.blob(&sha256("base"), 3).await.unwrap().unwrap().stream;
    assert_eq!(read(whole).await.unwrap(), b"e");
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused() {
    let (from, directory, elsewhere) = (repository("from"), directory(), directory());
    app(&from).await;
    export(&from, directory.path(), Names::tags(), &["v1"]).await;
    let linked = blob(directory.path(), "base");
    fs::rename(&linked, elsewhere.path().join("base")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("base"), &linked).unwrap();
    let layout = Layout::open(directory.path()).unwrap();

    let refused = ImageCopy::new(&layout, &repository("to"))
        .run(&[CopyItem::tag(tag("v1"))])
        .await;

    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains("not a regular file") && message.contains(&sha256("base").hex()),
        "{message}"
    );
}

#[tokio::test]
async fn a_writer_publishes_the_index_last_and_only_what_is_whole() {
    let (from, directory) = (repository("from"), directory());
    let root = digest_of(&app(&from).await);
    let writer = LayoutWriter::create(directory.path()).unwrap();
    let index = directory.path().join("index.json");

    // Another writer has to wait.
    let second = LayoutWriter::create(directory.path()).unwrap_err();
    assert!(second.to_string().contains("another process writes"), "{second}");

    for (content, message) in [
        ("AMD64", "has the digest"),
        ("amd64 and more", "bytes, but"),
        ("amd", "has 3 bytes"),
    ] {
        let stream = stream::iter([Ok(content.into())]);
        let refused = writer
            .put_blob(&sha256("amd64"), 5, Box::pin(stream))
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(message), "{refused}");
        assert_eq!(
            fs::read_dir(directory.path().join("blobs/sha256"))
                .unwrap()
                .count(),
            0
        );
    }
    let document = from.manifest(root).await.unwrap().unwrap();
    registry_image::Target::put_manifest(&writer, &document, &[tag("v1")])
        .await
        .unwrap();
    assert!(!index.exists());
    writer.finish().await.unwrap();
    assert!(index.exists());
}

#[tokio::test]
async fn two_writers_of_one_blob_do_not_mix_their_bytes() {
    let directory = directory();
    let writer = LayoutWriter::create(directory.path()).unwrap();
    let digest = sha256("layer");
    let hostile = Arc::new(tokio::sync::Notify::new());
    let (first, second) = (Arc::clone(&hostile), Arc::clone(&hostile));
    let honest = stream::iter([Ok(Bytes::from("la"))]).chain(stream::once(async move {
        first.notified().await;
        Ok(Bytes::from("yer"))
    }));
    let hostile = stream::once(async move {
        second.notify_one();
        Ok(Bytes::from("wrong bytes"))
    });

    let (honest, hostile) = join(
        writer.put_blob(&digest, 5, Box::pin(honest)),
        writer.put_blob(&digest, 100, Box::pin(hostile)),
    )
    .await;

    honest.unwrap();
    assert!(hostile.is_err());
    let path = blob(directory.path(), "layer");
    assert_eq!(fs::read(&path).unwrap(), b"layer");
    assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn a_link_in_place_of_a_file_that_is_written_is_not_followed() {
    let (from, directory) = (repository("from"), directory());
    app(&from).await;
    let victim = directory.path().join("victim");
    fs::write(&victim, "kept").unwrap();
    for name in ["app.tar.partial", "app.list.partial", "layout/index.json.partial"] {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
    }
    fs::write(
        directory.path().join("layout/oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )
    .unwrap();

    let items = [CopyItem::tag(tag("v1"))];
    let archive = directory.path().join("app.tar");
    let export = Export::new().add(&from, &items, Names::tags());
    let exported = export.write_file(&archive).await.unwrap();
    let list = directory.path().join("app.list");
    exported.contents.write_file(&list).unwrap();
    self::export(&from, &directory.path().join("layout"), Names::tags(), &["v1"]).await;

    assert_eq!(fs::read(&victim).unwrap(), b"kept");
    assert!(archive.symlink_metadata().unwrap().is_file() && list.symlink_metadata().unwrap().is_file());
}

#[tokio::test]
async fn leftovers_are_removed_and_other_directories_are_left_alone() {
    let (from, directory) = (repository("from"), directory());
    app(&from).await;
    export(&from, directory.path(), Names::tags(), &["v1"]).await;
    let leftover = directory.path().join("blobs/sha256/0000.partial");
    fs::write(&leftover, "killed").unwrap();

    drop(LayoutWriter::create(directory.path()).unwrap());
    assert!(!leftover.exists());

    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("notes"), "mine").unwrap();
    let refused = LayoutWriter::create(other.path()).unwrap_err();
    assert!(refused.to_string().contains("other content"), "{refused}");
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
}

#[test]
fn a_writer_has_the_lock_before_it_creates_anything() {
    let directory = directory();
    let other = fs::File::open(directory.path()).unwrap();
    other.try_lock().unwrap();

    let refused = LayoutWriter::create(directory.path()).unwrap_err();

    assert!(
        refused.to_string().contains("another process writes"),
        "{refused}"
    );
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_malformed_layout_is_refused_with_the_name_of_its_file() {
    let digest = sha256("x");
    let wrong_type =
        format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"?","digest":"{digest}","size":1}}]}}"#);
    for (marker, index, message) in [
        ("", "", "oci-layout: "),
        (r#"{"imageLayoutVersion":"2.0.0"}"#, "", "unknown version"),
        (r#"{"imageLayoutVersion":"1.0.0"}"#, "", "index.json: missing"),
        (r#"{"imageLayoutVersion":"1.0.0"}"#, "{", "index.json: "),
        (
            r#"{"imageLayoutVersion":"1.0.0"}"#,
            &wrong_type,
            "has no media type",
        ),
    ] {
        let directory = directory();
        for (name, content) in [("oci-layout", marker), ("index.json", index)] {
            if !content.is_empty() {
                fs::write(directory.path().join(name), content).unwrap();
            }
        }
        let refused = Layout::open(directory.path()).unwrap_err().to_string();
        assert!(refused.contains(message), "{refused}");
        assert!(refused.contains(directory.path().to_str().unwrap()), "{refused}");
    }
}

#[tokio::test]
async fn referrers_under_a_referrers_tag_are_found() {
    let (from, directory) = (repository("from"), directory());
    let app = app(&from).await;
    let report = artifact(&from, "report", &app).await;
    let fallback = Tag::of_referrers(&digest_of(&app));
    index(&from, std::slice::from_ref(&report), &[fallback.as_str()]).await;
    let writer = LayoutWriter::create(directory.path()).unwrap();
    ImageCopy::new(&from, &writer)
        .run(&[CopyItem::tag(fallback), CopyItem::tag(tag("v1"))])
        .await
        .unwrap();
    let layout = Layout::open(directory.path()).unwrap();

    let found: Vec<_> = walk::referrers(&layout, digest_of(&app))
        .try_collect()
        .await
        .unwrap();

    let digests: Vec<_> = found.iter().map(|found| found.digest).collect();
    assert_eq!(digests, [digest_of(&report)]);
}

#[tokio::test]
async fn a_referrer_that_an_index_lists_is_found_too() {
    let (from, directory) = (repository("from"), directory());
    let app = image(&from, "amd64", &["layer"]).await;
    let report = artifact(&from, "report", &app).await;
    index(&from, &[app.clone(), report.clone()], &["v1"]).await;
    export(&from, directory.path(), Names::tags(), &["v1"]).await;
    let layout = Layout::open(directory.path()).unwrap();

    let found: Vec<_> = walk::referrers(&layout, digest_of(&app))
        .try_collect()
        .await
        .unwrap();

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest, digest_of(&report));
}

#[tokio::test]
async fn content_that_is_no_manifest_is_in_nobodys_way() {
    let (from, directory) = (repository("from"), directory());
    let app = app(&from).await;
    let report = artifact(&from, "report", &app).await;
    export(&from, directory.path(), Names::tags(), &["v1"]).await;
    fs::write(blob(directory.path(), "notes"), "notes").unwrap();
    let huge = fs::File::create(blob(directory.path(), "a disk")).unwrap();
    huge.set_len(17 << 20).unwrap();
    let path = directory.path().join("index.json");
    let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let entries = document["manifests"].as_array_mut().unwrap();
    entries.push(descriptor("text/plain", b"notes"));
    entries.push(descriptor("application/vnd.example.disk", b"a disk"));
    entries[3]["size"] = (17 << 20).into();
    fs::write(&path, document.to_string()).unwrap();
    let layout = Layout::open(directory.path()).unwrap();

    let found: Vec<_> = walk::referrers(&layout, digest_of(&app))
        .try_collect()
        .await
        .unwrap();

    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest, digest_of(&report));
    // A manifest that cannot be read is not passed over.
    fs::write(blob(directory.path(), "{"), "{").unwrap();
    let entries = document["manifests"].as_array_mut().unwrap();
    entries.push(descriptor("application/vnd.oci.image.manifest.v1+json", b"{"));
    fs::write(&path, document.to_string()).unwrap();
    let layout = Layout::open(directory.path()).unwrap();
    let refused = layout.referrers(&digest_of(&app), None).await.unwrap_err();
    assert!(refused.to_string().contains("is malformed"), "{refused}");
}

#[tokio::test]
async fn a_copy_that_did_not_end_is_repeated_with_all_its_entries() {
    let (from, directory) = (repository("from"), directory());
    let root = app(&from).await;
    let report = artifact(&from, "report", &root).await;
    let items = [CopyItem::digest(digest_of(&root))];
    // Without its end, as if the process had been killed.
    let ended = LayoutWriter::create(directory.path()).unwrap();
    for digest in [digest_of(&report), digest_of(&root)] {
        let document = from.manifest(digest).await.unwrap().unwrap();
        registry_image::Target::put_manifest(&ended, &document, &[])
            .await
            .unwrap();
    }
    drop(ended);

    let writer = LayoutWriter::create(directory.path()).unwrap();
    ImageCopy::new(&from, &writer)
        .referrers(true)
        .run(&items)
        .await
        .unwrap();

    let layout = Layout::open(directory.path()).unwrap();
    let listed: Vec<_> = layout
        .entries()
        .iter()
        .map(|entry| entry.descriptor.digest)
        .collect();
    assert_eq!(listed, [digest_of(&report), digest_of(&root)]);
}
