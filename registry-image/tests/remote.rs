//! Copies from and to registries on the network, which fail now and then.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::{TryStreamExt as _, stream};
use registry_client::{Client, RemoteRepository, Retry};
use registry_core::{Algorithm, Digest, MediaType, Tag, storage::StoredManifest};
use registry_image::{ArchiveReader, CopyItem, Error, Export, ImageCopy, Names, Target, walk};
use registry_test::{GET, PUT, Side, TestRegistry, artifact, cut, image, index, on, status};
use std::time::Duration;

fn repository(registry: &TestRegistry, name: &str) -> RemoteRepository {
    let retry = Retry::new(4).pauses(Duration::ZERO, Duration::ZERO);
    let client = Client::builder().retry(retry).build().unwrap();
    client.repository(&registry.reference(name)).unwrap()
}

fn tag(tag: &str) -> Tag {
    Tag::parse(tag).unwrap()
}

fn app() -> registry_test::Index {
    index(
        ["linux/amd64", "linux/arm64"]
            .map(|platform| image().files([("platform", platform)]).platform(platform)),
    )
}

#[tokio::test]
async fn an_index_and_its_referrers_move_between_registries_and_then_are_skipped() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let root = from.seed("team/app:v1", app());
    let report = from.seed(
        "team/app:report",
        artifact("application/vnd.example").subject("v1"),
    );
    let (source, target) = (repository(&from, "team/app"), repository(&to, "mirror/app"));
    let copy = ImageCopy::new(&source, &target).referrers(true);
    let items = [CopyItem::tag(tag("v1"))];

    let first = copy.run(&items).await.unwrap();
    to.take_requests();
    let second = copy.run(&items).await.unwrap();

    to.assert_pushed("mirror/app:v1");
    to.assert_no_open_uploads();
    assert_eq!(to.digest("mirror/app:v1"), Some(root));
    assert!(to.manifest(&format!("mirror/app@{report}")).is_some());
    assert_eq!((second.blobs, second.skipped), (0, first.blobs));
    assert_eq!(to.requests().upload().count(), 0);
    let tags: Vec<_> = walk::tags(&source).try_collect().await.unwrap();
    assert_eq!(tags, [tag("report"), tag("v1")]);
}

#[tokio::test]
async fn blobs_are_mounted_within_a_registry() {
    let registry = TestRegistry::start();
    let root = registry.seed("team/app:v1", app());
    let (source, target) = (
        repository(&registry, "team/app"),
        repository(&registry, "copy/app"),
    );

    let report = ImageCopy::new(&source, &target)
        .run(&[CopyItem::tag(tag("v1"))])
        .await
        .unwrap();

    assert_eq!((report.blobs, report.mounted), (0, 4));
    registry.assert_pushed("copy/app:v1");
    assert_eq!(registry.digest("copy/app:v1"), Some(root));
}

#[tokio::test]
async fn a_registry_is_exported_and_an_archive_is_pushed() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let root = from.seed("team/app:v1", app());
    let source = repository(&from, "team/app");
    let items = [CopyItem::tag(tag("v1"))];
    let mut bytes = Vec::new();
    let export = Export::new().add(
        &source,
        &items,
        Names::of_repository("registry.example.com/team/app"),
    );
    export.write(&mut bytes).await.unwrap();

    let archive = ArchiveReader::new().read("archive", &*bytes).unwrap();
    ImageCopy::new(&archive, &repository(&to, "team/app"))
        .run(&items)
        .await
        .unwrap();

    to.assert_pushed("team/app:v1");
    assert_eq!(to.digest("team/app:v1"), Some(root));
}

#[tokio::test]
async fn bytes_with_another_digest_or_size_are_not_published() {
    let registry = TestRegistry::start();
    let target = repository(&registry, "team/app");
    let digest = Digest::of(Algorithm::Sha256, b"expected");
    for (content, is_expected) in [
        ("EXPECTED", false),
        ("expected and more", false),
        ("exp", false),
        ("expected", true),
    ] {
        let stream = stream::iter([Ok(content.into())]);

        let put = target.put_blob(&digest, 8, Box::pin(stream)).await;

        match put {
            Ok(()) => assert!(is_expected, "{content}"),
            Err(error) => assert!(
                !is_expected && matches!(error, Error::Digest { .. } | Error::Size { .. }),
                "{content}: {error}"
            ),
        }
        assert_eq!(registry.blob("team/app", &digest).is_some(), is_expected);
        let other = Digest::of(Algorithm::Sha256, content.as_bytes());
        assert_eq!(registry.blob("team/app", &other).is_some(), is_expected);
        registry.assert_no_open_uploads();
    }
}

#[tokio::test]
async fn a_manifest_keeps_the_algorithm_of_its_digest() {
    let registry = TestRegistry::start();
    let target = repository(&registry, "team/app");
    let bytes = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#,
        MediaType::OCI_INDEX
    );
    for algorithm in [Algorithm::Sha512, Algorithm::Sha256] {
        let digest = Digest::of(algorithm, bytes.as_bytes());
        let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
        let manifest = StoredManifest::new(digest, media_type, bytes.clone().into());

        Target::put_manifest(&target, &manifest, &[tag("v1")])
            .await
            .unwrap();

        assert_eq!(registry.digest("team/app:v1"), Some(digest));
    }
}

#[tokio::test]
async fn what_is_absent_is_named_and_an_outage_is_no_absence() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let (source, target) = (repository(&from, "team/app"), repository(&to, "team/app"));
    let items = [CopyItem::tag(tag("v9"))];

    let absent = ImageCopy::new(&source, &target).run(&items).await.unwrap_err();
    assert!(matches!(absent, Error::NoManifest { .. }), "{absent}");
    assert!(
        absent.to_string().ends_with("/team/app has no manifest v9"),
        "{absent}"
    );
    assert!(!absent.is_transient());

    let _ = from.fault(on(GET).manifest().always(), status(503).retry_after(0));
    from.seed("team/app:v9", app());
    let outage = ImageCopy::new(&source, &target).run(&items).await.unwrap_err();
    assert!(outage.is_transient(), "{outage}");
    assert!(to.tags("team/app").is_empty());
}

#[tokio::test]
async fn a_copy_survives_cut_bodies_and_refusals_for_a_while() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    let root = from.seed("team/app:v1", app());
    let _ = from.fault(on(GET).blob().each_first(), cut(Side::Response).after(10).reset());
    let _ = to.fault(on(PUT).manifest().first(2), status(429).retry_after(0));
    let (source, target) = (repository(&from, "team/app"), repository(&to, "team/app"));

    ImageCopy::new(&source, &target)
        .jobs(3)
        .run(&[CopyItem::tag(tag("v1"))])
        .await
        .unwrap();

    to.assert_pushed("team/app:v1");
    to.assert_no_open_uploads();
    assert_eq!(to.digest("team/app:v1"), Some(root));
}

#[tokio::test]
async fn a_registry_without_the_base_of_an_archive_gets_nothing() {
    let (from, to) = (TestRegistry::start(), TestRegistry::start());
    from.seed("team/app:v1", app());
    let (source, target) = (repository(&from, "team/app"), repository(&to, "mirror/app"));
    let items = [CopyItem::tag(tag("v1"))];
    let mut archive = Vec::new();
    let export = Export::new().add(&source, &items, Names::tags());
    let whole = export.write(&mut archive).await.unwrap();
    archive.clear();
    export.since(whole.contents).write(&mut archive).await.unwrap();
    let increment = ArchiveReader::new().read("app.tar", &*archive).unwrap();
    let copy = ImageCopy::new(&increment, &target);

    let refused = copy.run(&items).await.unwrap_err();

    assert!(matches!(refused, Error::Base { missing, .. } if missing.len() == 4));
    assert_eq!(to.requests().upload().count(), 0);
    assert!(to.tags("mirror/app").is_empty());
    ImageCopy::new(&source, &target).run(&items).await.unwrap();
    copy.run(&items).await.unwrap();
    to.assert_pushed("mirror/app:v1");
}
