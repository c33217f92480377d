//! Files on disk, byte for byte: registry:2 must find exactly its own format, and we must read its files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full};
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Storage, UploadId,
    maintenance::{Clock, CollectOptions, collect},
    storage::{
        Deletion, HeldBlob, Mount, Need, Needed, PutManifest, Referring, Seen, StorageError, TagExpect,
        Verified, ingest,
    },
};
use registry_storage_fs::FsStorage;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    pin::pin,
    time::{Duration, SystemTime},
};
use support::*;

/// A clock that has stopped.
struct Stopped;

#[async_trait]
impl Clock for Stopped {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, _: Duration) {}
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_push_writes_these_files_and_no_others() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("library/a");
    let blob = push(&storage, &repository, &content(1000)).await;
    let image = manifest("1");
    let digest = *image.digest();

    put(&storage, &repository, image, &["v1"]).await;

    let (layer, hex) = (blob.digest.hex(), digest.hex());
    let mut expected = vec![
        "_collect/state".to_owned(),
        "_history/library/a/_tags/v1".to_owned(),
        "_index/_owner".to_owned(),
        "_owner".to_owned(),
        format!("blobs/sha256/{}/{layer}/data", &layer[..2]),
        format!("blobs/sha256/{}/{hex}/data", &hex[..2]),
        format!("repositories/library/a/_layers/sha256/{layer}/link"),
        format!("repositories/library/a/_manifests/revisions/sha256/{hex}/link"),
        "repositories/library/a/_manifests/tags/v1/current/link".to_owned(),
        format!("repositories/library/a/_manifests/tags/v1/index/sha256/{hex}/link"),
    ];
    expected.sort();
    assert_eq!(files(&top(root.path())), expected);
    for file in expected.iter().filter(|file| file.ends_with("/link")) {
        let of = if file.contains("_layers") {
            blob.digest
        } else {
            digest
        };
        assert_eq!(
            fs::read_to_string(top(root.path()).join(file)).unwrap(),
            of.to_string()
        );
    }
}

#[tokio::test]
async fn a_tag_points_with_an_inode_of_its_own() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let (first, second) = (manifest("1"), manifest("2"));
    let digest = *first.digest();
    put(&storage, &repository, first.clone(), &["v1", "v2"]).await;
    put(&storage, &repository, second, &["v1"]).await;
    put(&storage, &repository, first, &["v1"]).await;

    let tags = in_repository(root.path(), &repository, "_manifests/tags");
    let links = [
        revision_link(root.path(), &repository, &digest),
        tags.join("v1/current/link"),
        tags.join("v2/current/link"),
        tags.join(format!("v1/index/sha256/{}/link", digest.hex())),
    ];
    for link in links {
        let metadata = fs::metadata(&link).unwrap();
        assert_eq!(metadata.nlink(), 1, "{}", link.display());
    }
}

#[tokio::test]
async fn a_session_is_one_of_registry_2() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let state = open_upload(&storage, &repository).await;
    let directory = session(root.path(), &repository, &state.id);
    let empty = fs::read(directory.join("hashstates/sha256/0")).unwrap();
    assert_eq!((empty.len(), &empty[..4]), (108, &b"sha\x03"[..]));
    assert_eq!(
        files(&directory),
        ["data", "hashstates/sha256/0", "session", "startedat"]
    );

    let state = append(&storage, &repository, state, &content(1000))
        .await
        .unwrap();

    assert_eq!(
        files(&directory),
        ["data", "hashstates/sha256/1000", "session", "startedat"]
    );
    let kept = fs::read(directory.join("hashstates/sha256/1000")).unwrap();
    assert_eq!(kept, state.checkpoint.unwrap().as_bytes()[..]);
    assert_eq!(fs::read(directory.join("data")).unwrap(), content(1000));
    let started = fs::read_to_string(directory.join("startedat")).unwrap();
    let shape: String = started
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z");
    assert!(state.started.is_some());
}

#[tokio::test]
async fn sha512_is_stored_under_its_own_name() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");

    let blob = push_as(&storage, &repository, &content(10), Algorithm::Sha512).await;

    assert_eq!(
        fs::read(blob_data(root.path(), &blob.digest)).unwrap(),
        content(10)
    );
    let link = fs::read_to_string(layer_link(root.path(), &repository, &blob.digest)).unwrap();
    assert_eq!(link, blob.digest.to_string());
}

/// Registry:2 finds the alias, and then the link to which it leads.
#[tokio::test]
async fn a_collection_keeps_both_links_of_an_alias_of_registry_2() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let blob = push(&storage, &repository, &content(10)).await;
    let unnamed = push(&storage, &repository, &content(20)).await;
    let alias = Digest::of(Algorithm::Sha512, &content(10));
    let link = layer_link(root.path(), &repository, &alias);
    write(&link, blob.digest.to_string());
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","layers":[{{"mediaType":"a/b","digest":"{alias}","size":10}}]}}"#,
        MediaType::OCI_MANIFEST
    );
    let image = Verified::of(Algorithm::Sha256, image.into());
    put(&storage, &repository, image, &["v1"]).await;

    let options = CollectOptions::new()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO);
    let report = collect(&storage, &options, &Stopped, &|_| {}).await.unwrap();

    assert!(report.stopped.is_none(), "{report:?}");
    assert!(link.exists() && blob_data(root.path(), &blob.digest).exists());
    assert!(layer_link(root.path(), &repository, &blob.digest).exists());
    assert!(!layer_link(root.path(), &repository, &unnamed.digest).exists());
}

#[tokio::test]
async fn an_alias_of_registry_2_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let (repository, other) = (name("a"), name("b"));
    let blob = push(&storage, &repository, &content(10)).await;
    let alias = Digest::of(Algorithm::Sha512, &content(10));
    write(
        &layer_link(root.path(), &repository, &alias),
        blob.digest.to_string(),
    );

    let found = storage.blob(&repository, &alias).await.unwrap().unwrap();
    assert_eq!((found.digest, found.size), (alias, 10));
    assert_eq!(read(&storage, &repository, &alias).await, Some(content(10)));
    let held = storage
        .inspect()
        .unwrap()
        .held_blobs(&repository, all())
        .await
        .unwrap();
    assert_eq!(
        held.items[1],
        Seen::Whole(HeldBlob::new(alias).with_stored(blob.digest))
    );

    let mounted = writer(&storage)
        .mount(&other, Mount::new(&repository, &alias))
        .await
        .unwrap();
    assert_eq!(mounted.unwrap().digest, alias);
    assert_eq!(read(&storage, &other, &alias).await, Some(content(10)));
}

#[tokio::test]
async fn a_manifest_of_registry_2_has_the_type_that_its_bytes_say() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    for (bytes, expected) in [
        (r#"{"schemaVersion":2,"manifests":[]}"#, MediaType::OCI_INDEX),
        (
            r#"{"schemaVersion":2,"config":{},"layers":[]}"#,
            MediaType::OCI_MANIFEST,
        ),
        (
            r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}"#,
            MediaType::DOCKER_MANIFEST,
        ),
    ] {
        let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
        write(&blob_data(root.path(), &digest), bytes);
        write(
            &revision_link(root.path(), &repository, &digest),
            digest.to_string(),
        );

        let found = storage
            .manifest(&repository, &digest.into())
            .await
            .unwrap()
            .unwrap();

        assert_eq!(
            (found.media_type.as_str(), &found.bytes[..]),
            (expected, bytes.as_bytes())
        );
    }
}

#[tokio::test]
async fn a_media_type_is_stored_only_where_the_bytes_say_another() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let image = manifest("1");
    let digest = *image.digest();
    let stored = in_repository(root.path(), &repository, "_manifests/media-types");
    put(&storage, &repository, image.clone(), &[]).await;
    assert!(!stored.exists());

    let docker = MediaType::parse(MediaType::DOCKER_MANIFEST).unwrap();
    let as_docker = PutManifest::new(image.clone(), docker.clone());
    writer(&storage)
        .put_manifest(&repository, as_docker)
        .await
        .unwrap();
    let found = storage
        .manifest(&repository, &digest.into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.media_type, docker);
    assert_eq!(
        fs::read_to_string(stored.join("sha256").join(digest.hex())).unwrap(),
        MediaType::DOCKER_MANIFEST
    );

    put(&storage, &repository, image, &[]).await;
    let found = storage
        .manifest(&repository, &digest.into())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.media_type.as_str(), MediaType::OCI_MANIFEST);
}

#[tokio::test]
async fn referrers_that_registry_2_took_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    let bytes = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"application/x.signature","digest":"{subject}","size":2}},"layers":[],"subject":{{"mediaType":"{}","digest":"{subject}","size":7}},"annotations":{{"a":"b"}}}}"#,
        MediaType::OCI_MANIFEST,
        MediaType::OCI_MANIFEST,
    );
    let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
    write(&blob_data(root.path(), &digest), &bytes);
    write(
        &revision_link(root.path(), &repository, &digest),
        digest.to_string(),
    );

    let found = storage
        .referrers(&repository, Referring::new(&subject), all())
        .await
        .unwrap();

    let [descriptor] = &found.items[..] else {
        panic!("{found:?}")
    };
    assert_eq!((descriptor.digest, descriptor.size), (digest, bytes.len() as u64));
    assert_eq!(
        descriptor.artifact_type.as_deref().unwrap(),
        "application/x.signature"
    );
    assert_eq!(descriptor.annotations.as_ref().unwrap().as_json(), r#"{"a":"b"}"#);

    writer(&storage)
        .delete_manifest(&repository, &digest, Deletion::new())
        .await
        .unwrap()
        .unwrap();
    let found = storage
        .referrers(&repository, Referring::new(&subject), all())
        .await
        .unwrap();
    assert!(found.items.is_empty());
}

#[tokio::test]
async fn a_referrer_that_is_put_after_the_first_question_is_listed() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let subject = Digest::of(Algorithm::Sha256, b"subject");
    put(&storage, &repository, manifest("1"), &[]).await;
    assert!(
        storage
            .referrers(&repository, Referring::new(&subject), all())
            .await
            .unwrap()
            .items
            .is_empty()
    );

    let kind = MediaType::OCI_MANIFEST;
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","layers":[],"subject":{{"mediaType":"{kind}","digest":"{subject}","size":7}}}}"#
    );
    let image = Verified::of(Algorithm::Sha256, document.into());
    let media_type = MediaType::parse(kind).unwrap();
    let descriptor = Descriptor::new(media_type.clone(), *image.digest(), image.size());
    let mut put = PutManifest::new(image.clone(), media_type);
    put.referrer = Some((subject, descriptor));
    writer(&storage).put_manifest(&repository, put).await.unwrap();

    let found = storage
        .referrers(&repository, Referring::new(&subject), all())
        .await
        .unwrap();
    assert_eq!(found.items[0].digest, *image.digest());
}

#[tokio::test]
async fn deleting_removes_links_and_whole_tags_and_no_data() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let blob = push(&storage, &repository, &content(10)).await;
    let image = manifest("1");
    let digest = *image.digest();
    put(&storage, &repository, image, &["v1", "v2"]).await;
    put(&storage, &repository, manifest("2"), &["v3"]).await;

    assert!(
        writer(&storage)
            .delete_blob(&repository, &blob.digest, Deletion::new())
            .await
            .unwrap()
    );
    let tags = writer(&storage)
        .delete_manifest(&repository, &digest, Deletion::new())
        .await
        .unwrap();

    assert_eq!(tags.unwrap(), [tag("v1"), tag("v2")]);
    assert!(!layer_link(root.path(), &repository, &blob.digest).exists());
    let revision = revision_link(root.path(), &repository, &digest);
    assert!(!revision.exists() && revision.parent().unwrap().is_dir());
    let left = fs::read_dir(in_repository(root.path(), &repository, "_manifests/tags")).unwrap();
    assert_eq!(left.count(), 1);
    assert!(blob_data(root.path(), &blob.digest).exists() && blob_data(root.path(), &digest).exists());
    assert_eq!(
        fs::read_dir(top(root.path()).join("_staging")).unwrap().count(),
        0
    );
}

/// Returns every directory below one, relative to it, in order.
fn directories(top: &Path) -> Vec<String> {
    let (mut found, mut next) = (Vec::new(), vec![top.to_path_buf()]);
    while let Some(directory) = next.pop() {
        let entries = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        next.extend(entries.filter(|path| path.is_dir()));
        found.push(directory.strip_prefix(top).unwrap().to_str().unwrap().to_owned());
    }
    found.retain(|path| !path.is_empty());
    found.sort();
    found
}

#[tokio::test]
async fn uploads_that_come_to_nothing_leave_no_directory() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repositories = top(root.path()).join("repositories");
    let (cancelled, refused, expired) = (
        name("a/b/c/cancelled"),
        name("a/refused"),
        name("a/b/expired/x/y"),
    );

    let first = open_upload(&storage, &cancelled).await;
    let second = open_upload(&storage, &cancelled).await;
    assert!(writer(&storage).cancel(&cancelled, &first.id).await.unwrap());
    assert!(session(root.path(), &cancelled, &second.id).is_dir());
    assert!(writer(&storage).cancel(&cancelled, &second.id).await.unwrap());
    let body = pin!(Full::new(content(10)).map_err(|never| match never {}));
    let wrong = Digest::of(Algorithm::Sha256, b"something else");
    let pushed = ingest(writer(&storage), &refused, body, Some(wrong)).await;
    assert!(pushed.is_err());
    let idle = open_upload(&storage, &expired).await;
    assert!(
        storage
            .expire()
            .unwrap()
            .expire_upload(&expired, &idle)
            .await
            .unwrap()
    );

    assert_eq!(directories(&repositories), [""; 0]);
}

#[tokio::test]
async fn a_repository_keeps_what_registry_2_looks_for_whatever_becomes_of_its_uploads() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let (repository, below) = (name("a/b"), name("a/b/c/d"));
    // One that needs nothing, and has no tag.
    put(&storage, &repository, manifest("1"), &[]).await;
    for name in [&repository, &below] {
        let state = open_upload(&storage, name).await;
        assert!(writer(&storage).cancel(name, &state.id).await.unwrap());
    }

    let left = directories(&in_repository(root.path(), &repository, ""));
    let kept: Vec<_> = left.iter().filter(|path| !path.contains("revisions")).collect();
    assert_eq!(kept, ["_layers", "_manifests", "_manifests/tags"]);
    assert_eq!(storage.repositories(all()).await.unwrap().items, [repository]);
}

#[tokio::test]
async fn what_others_left_behind_is_in_nobodys_way() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let blob = push(&storage, &repository, &content(10)).await;
    put(&storage, &repository, manifest("1"), &["v1"]).await;
    let at = |rest: &str| in_repository(root.path(), &repository, rest);
    let hex = blob.digest.hex();
    write(&at(&format!("_layers/sha256/{hex}/link.0e5b.tmp")), "sha");
    write(&at("_layers/sha256/not-a-digest/link"), "x");
    write(&at("_manifests/revisions/sha256/stray"), "x");
    write(&at("_manifests/tags/.hidden/current/link"), "x");
    write(&at("_manifests/tags/a file"), "x");
    fs::create_dir_all(at("_manifests/tags/empty/current")).unwrap();
    fs::create_dir_all(at("_manifests/tags/no-history/index")).unwrap();
    write(&at("_uploads/not-a-session/data"), "x");
    write(&at("_anything/_manifests/x"), "x");
    write(&top(root.path()).join("repositories/.DS_Store"), "x");
    fs::create_dir_all(top(root.path()).join("repositories/Upper/_manifests")).unwrap();
    fs::create_dir_all(top(root.path()).join("repositories/a/_layers/b/_manifests")).unwrap();
    write(&top(root.path()).join("blobs/sha256/.keep"), "x");
    write(&top(root.path()).join("blobs/sha256/ab/stray/data"), "x");

    let inspect = storage.inspect().unwrap();
    let tags = storage.tags(&repository, all()).await.unwrap().unwrap();
    assert_eq!(tags.items, [tag("v1")]);
    assert_eq!(storage.repositories(all()).await.unwrap().items[..], [name("a")]);
    assert_eq!(
        inspect.held_blobs(&repository, all()).await.unwrap().items.len(),
        1
    );
    assert_eq!(
        inspect.manifests(&repository, all()).await.unwrap().items.len(),
        1
    );
    assert_eq!(
        inspect.tag_targets(&repository, all()).await.unwrap().items.len(),
        1
    );
    assert_eq!(inspect.uploads(&repository, all()).await.unwrap().items.len(), 0);
    assert_eq!(inspect.blobs(all()).await.unwrap().items.len(), 2);

    // A directory that points at nothing is no tag, so it can become one.
    for unfinished in ["empty", "no-history"] {
        put(&storage, &repository, manifest("2"), &[unfinished]).await;
    }
    let tags = storage.tags(&repository, all()).await.unwrap().unwrap();
    assert_eq!(tags.items, [tag("empty"), tag("no-history"), tag("v1")]);
}

#[tokio::test]
async fn a_tag_moves_only_from_where_it_is_expected() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    put(&storage, &repository, manifest("1"), &["v1"]).await;
    let current = in_repository(root.path(), &repository, "_manifests/tags/v1/current/link");
    let before = fs::read(&current).unwrap();

    let refused = writer(&storage)
        .delete_tag(&repository, &tag("v1"), TagExpect::Absent, Deletion::new())
        .await;

    assert!(matches!(refused, Err(StorageError::TagConflict { .. })));
    assert_eq!(fs::read(&current).unwrap(), before);
}

#[tokio::test]
async fn a_descriptor_that_lies_about_a_size_condemns_nothing() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let repository = name("a");
    let blob = push(&storage, &repository, &content(10)).await;
    let needing = |size| {
        let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
        let mut put = PutManifest::new(Verified::of(Algorithm::Sha256, "{}".into()), media_type);
        put.needs = vec![Needed::new(blob.digest, size, Need::Blob)];
        put
    };

    let refused = writer(&storage).put_manifest(&repository, needing(11)).await;
    assert!(
        matches!(
            refused,
            Err(StorageError::SizeMismatch {
                stored: 10,
                claimed: 11,
                ..
            })
        ),
        "{refused:?}"
    );
    assert!(storage.blob(&repository, &blob.digest).await.unwrap().is_some());
    assert!(
        storage.tags(&repository, all()).await.unwrap().is_none(),
        "nothing was written"
    );
}

#[tokio::test]
async fn an_id_reaches_only_the_sessions_of_its_repository() {
    let root = tempfile::tempdir().unwrap();
    let storage = FsStorage::open(root.path()).unwrap();
    let state = open_upload(&storage, &name("a")).await;

    let elsewhere = writer(&storage).upload(&name("b"), &state.id).await.unwrap();
    assert!(elsewhere.is_none());
    assert!(!writer(&storage).cancel(&name("b"), &state.id).await.unwrap());
    let unknown = UploadId::parse("0e5b2cb5-1a52-4b8a-8c41-5d4e4e0a1ed0").unwrap();
    assert!(
        writer(&storage)
            .upload(&name("a"), &unknown)
            .await
            .unwrap()
            .is_none()
    );
}
