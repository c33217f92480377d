//! Incremental archives, which leave out the blobs of an earlier export.

use crate::fixture::{artifact, assert_same, digest_of, image, index, repository, sha256, tag};
use registry_core::{Algorithm, Digest, Repository};
use registry_image::{
    ArchiveReader, BlobList, CopyItem, Error, Export, Exported, ImageCopy, Layout, LayoutWriter, Names,
    Source as _,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, io::Read as _};

/// Puts `v1` and `v2`, which share a layer and an image.
async fn app(from: &Repository) -> [Value; 2] {
    let shared = image(from, "arm64", &["base", "arm64"]).await;
    let v1 = image(from, "amd64", &["base", "one"]).await;
    let v2 = image(from, "amd64", &["base", "two"]).await;
    [
        index(from, &[v1, shared.clone()], &["v1"]).await,
        index(from, &[v2, shared], &["v2"]).await,
    ]
}

async fn export(from: &Repository, name: &str, since: Option<&BlobList>) -> (Vec<u8>, Exported) {
    let items = [CopyItem::tag(tag(name))];
    let mut export = Export::new().add(from, &items, Names::of_repository("registry.example.com/app"));
    if let Some(base) = since {
        export = export.since(base.clone());
    }
    let mut bytes = Vec::new();
    let exported = export.write(&mut bytes).await.unwrap();
    (bytes, exported)
}

fn opened(archive: &[u8]) -> Layout {
    ArchiveReader::new().read("app.tar", archive).unwrap()
}

fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), content);
    }
    files
}

fn archived(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, &**content).unwrap();
    }
    archive.into_inner().unwrap()
}

fn path(content: &str) -> String {
    format!("blobs/sha256/{}", sha256(content).hex())
}

#[tokio::test]
async fn an_archive_since_a_list_has_what_is_new_and_its_base_completes_it() {
    let (from, to) = (repository("from"), repository("to"));
    let [first, second] = app(&from).await;
    let (full, exported) = export(&from, "v1", None).await;
    ImageCopy::new(&opened(&full), &to)
        .run(&[CopyItem::tag(tag("v1"))])
        .await
        .unwrap();

    let list = exported.contents;
    let (increment, exported) = export(&from, "v2", Some(&list)).await;

    assert_eq!((exported.blobs, exported.left_out), (2, 3));
    assert_eq!(exported.contents.size_of(&sha256("base")), Some(4), "of the base");
    assert_eq!(
        exported.contents.size_of(&sha256("two")),
        Some(3),
        "of this export"
    );
    assert_eq!(
        exported.contents.size_of(&sha256("one")),
        None,
        "no image has it now"
    );
    let names = files(&increment);
    assert!(names.contains_key(&path("two")));
    assert!(!names.contains_key(&path("base")) && !names.contains_key(&path("arm64")));

    let layout = opened(&increment);
    assert_eq!(layout.left_out().unwrap().base, list.digest());
    ImageCopy::new(&layout, &to)
        .run(&[CopyItem::tag(tag("v2"))])
        .await
        .unwrap();
    for image in [first, second] {
        assert_same(&from, &to, &digest_of(&image)).await;
    }
    assert_eq!(
        export(&from, "v2", Some(&list)).await.0,
        increment,
        "the same bytes again"
    );
}

#[tokio::test]
async fn a_list_that_has_nothing_of_an_export_changes_no_byte_of_it() {
    let from = repository("from");
    app(&from).await;
    let other: BlobList = [(sha256("something else"), 14), (sha256("base"), 5)]
        .into_iter()
        .collect();

    let (archive, exported) = export(&from, "v1", Some(&other)).await;

    // A blob with another size is not the one of the list.
    assert_eq!(archive, export(&from, "v1", None).await.0);
    assert_eq!(exported.left_out, 0);
    assert!(opened(&archive).left_out().is_none());
}

#[tokio::test]
async fn without_the_base_nothing_is_written_and_everything_missing_is_named() {
    let from = repository("from");
    let [_, second] = app(&from).await;
    let list = export(&from, "v1", None).await.1.contents;
    let (increment, _) = export(&from, "v2", Some(&list)).await;
    let layout = opened(&increment);
    let directory = tempfile::tempdir().unwrap();
    let to = repository("to");
    let items = [CopyItem::tag(tag("v2"))];
    // One of the blobs alone is not enough.
    to.push_blob("base", None).await.unwrap();
    let writer = LayoutWriter::create(directory.path()).unwrap();

    for keep_going in [false, true] {
        let copy = ImageCopy::new(&layout, &to).keep_going(keep_going);
        let refused = copy.run(&items).await.unwrap_err();
        let message = refused.to_string();
        let Error::Base { missing, base, .. } = refused else {
            panic!("{message}");
        };
        assert_eq!(base, list.digest());
        assert_eq!(missing.len(), 2, "{message}");
        assert!(
            missing.contains(&sha256("arm64"))
                && message.contains(&sha256("arm64").to_string())
                && message.contains(&list.digest().to_string()),
            "{message}"
        );
        assert!(to.blob(&sha256("two")).await.unwrap().is_none());
        assert!(to.manifest(digest_of(&second)).await.unwrap().is_none());
    }
    let refused = ImageCopy::new(&layout, &writer).run(&items).await.unwrap_err();
    assert!(matches!(refused, Error::Base { missing, .. } if missing.len() == 3));
    let written = directory.path().join("blobs/sha256").read_dir().unwrap();
    assert_eq!(written.count(), 0);

    let mut out = Vec::new();
    let refused = Export::new()
        .add(&layout, &items, Names::tags())
        .write(&mut out)
        .await;
    assert!(matches!(refused.unwrap_err(), Error::Base { .. }));
}

#[tokio::test]
async fn a_blob_of_another_repository_is_not_the_base() {
    let from = repository("from");
    app(&from).await;
    let list = export(&from, "v1", None).await.1.contents;
    let (increment, _) = export(&from, "v2", Some(&list)).await;
    let storage = registry_core::storage::MemoryStorage::new();
    let registry = registry_core::Registry::builder(storage).build();
    let (other, to) = (
        registry.repository("other").unwrap(),
        registry.repository("to").unwrap(),
    );
    let items = [CopyItem::tag(tag("v1"))];
    ImageCopy::new(&from, &other).run(&items).await.unwrap();

    let refused = ImageCopy::new(&opened(&increment), &to)
        .run(&[CopyItem::tag(tag("v2"))])
        .await;

    assert!(matches!(refused.unwrap_err(), Error::Base { missing, .. } if missing.len() == 3));
}

#[tokio::test]
async fn only_the_items_that_are_copied_need_their_base() {
    let (from, to) = (repository("from"), repository("to"));
    let [first, second] = app(&from).await;
    artifact(&from, "report", &first).await;
    let list: BlobList = [(sha256("one"), 3), (sha256("report"), 6)].into_iter().collect();
    let items = ["v1", "v2"].map(|name| CopyItem::tag(tag(name)));
    let mut archive = Vec::new();
    let export = Export::new().add(&from, &items, Names::tags()).referrers(true);
    export.since(list).write(&mut archive).await.unwrap();
    let layout = opened(&archive);

    ImageCopy::new(&layout, &to).run(&items[1..]).await.unwrap();
    assert_same(&from, &to, &digest_of(&second)).await;

    let missing = |refused: Error| match refused {
        Error::Base { missing, .. } => missing,
        other => panic!("{other}"),
    };
    let copy = ImageCopy::new(&layout, &to);
    let refused = copy.verify_base(&items).await.unwrap_err();
    assert_eq!(missing(refused), [sha256("one")]);
    let refused = copy.referrers(true).verify_base(&items).await.unwrap_err();
    assert_eq!(missing(refused).len(), 2, "referrers count if they are copied");
}

#[tokio::test]
async fn an_unpacked_increment_is_completed_by_the_files_of_its_base() {
    let from = repository("from");
    let [_, second] = app(&from).await;
    let (full, exported) = export(&from, "v1", None).await;
    let (increment, _) = export(&from, "v2", Some(&exported.contents)).await;
    let directory = tempfile::tempdir().unwrap();
    let items = [CopyItem::tag(tag("v2"))];
    let unpack = |archive: &[u8]| tar::Archive::new(archive).unpack(directory.path()).unwrap();

    unpack(&increment);
    let layout = Layout::open(directory.path()).unwrap();
    let to = repository("to");
    let refused = ImageCopy::new(&layout, &to).run(&items).await;
    assert!(matches!(refused, Err(Error::Base { .. })));

    unpack(&full);
    unpack(&increment);
    let layout = Layout::open(directory.path()).unwrap();
    ImageCopy::new(&layout, &to).run(&items).await.unwrap();
    assert_same(&from, &to, &digest_of(&second)).await;
}

#[tokio::test]
async fn a_record_of_a_base_that_is_damaged_is_refused() {
    let from = repository("from");
    app(&from).await;
    let list = export(&from, "v1", None).await.1.contents;
    let (increment, _) = export(&from, "v2", Some(&list)).await;
    let files = files(&increment);
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let left_out = index["annotations"]["vnd.registry-image.left-out"]
        .as_str()
        .unwrap();
    let record = format!("blobs/sha256/{}", Digest::parse(left_out).unwrap().hex());
    let refused = |files: &BTreeMap<String, Vec<u8>>| {
        let opened = ArchiveReader::new().read("app.tar", &*archived(files));
        opened.unwrap_err().to_string()
    };

    let mut changed = files.clone();
    changed.remove(&record);
    assert!(refused(&changed).contains("missing, but the annotations"));

    changed.insert(record.clone(), b"blobs 1\n".to_vec());
    assert!(refused(&changed).contains("is damaged"));

    let no_list = b"neither";
    let digest = Digest::of(Algorithm::Sha256, no_list);
    let other = String::from_utf8(files["index.json"].clone())
        .unwrap()
        .replace(left_out, &digest.to_string());
    changed.insert("index.json".into(), other.into_bytes());
    changed.insert(format!("blobs/sha256/{}", digest.hex()), no_list.to_vec());
    assert!(refused(&changed).contains("no list of blobs"));

    for key in ["base", "left-out"] {
        let mut index = index.clone();
        let name = format!("vnd.registry-image.{key}");
        index["annotations"].as_object_mut().unwrap().remove(&name);
        changed.insert("index.json".into(), index.to_string().into_bytes());
        assert!(refused(&changed).contains(&name));
    }
    // The record lies in a directory, too.
    let directory = tempfile::tempdir().unwrap();
    tar::Archive::new(&*increment).unpack(directory.path()).unwrap();
    fs::remove_file(directory.path().join(record)).unwrap();
    assert!(Layout::open(directory.path()).is_err());
}
