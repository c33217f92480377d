//! Tests of the host's options for a registry: read-only, no deletion, sparse indexes.

use crate::{IMAGE, digest, every_request, filled, manifest, send};
use http::{Method, StatusCode};
use registry_core::{
    Algorithm, Digest, Limits, MediaType, Reference, Registry, Tag,
    protocol::PageQuery,
    service::{ManifestPush, Setting},
    storage::MemoryStorage,
};
use serde_json::json;

#[tokio::test]
async fn read_only_nobody_changes_anything_but_the_host() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let registry = Registry::builder(storage)
        .allow_anonymous_push()
        .read_only()
        .build();
    for (method, target) in every_request() {
        let answer = send(&registry, None, method.clone(), &target, "").await;
        if matches!(method, Method::GET | Method::HEAD) && !target.contains("/uploads/") {
            assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {target}");
        } else {
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {target}");
        }
    }
    let repository = registry.repository("a").unwrap();
    repository.push_blob("more", None).await.unwrap();
}

#[tokio::test]
async fn without_deletion_nobody_deletes_but_the_host() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let registry = Registry::builder(storage)
        .allow_anonymous_push()
        .without_deletion()
        .build();
    let blob = Digest::of(Algorithm::Sha256, b"{}");
    for target in ["/v2/a/manifests/v1".to_owned(), format!("/v2/a/blobs/{blob}")] {
        let refused = send(&registry, None, Method::DELETE, &target, "").await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
            "{target}"
        );
    }
    let repository = registry.repository("a").unwrap();
    let v1 = Reference::Tag(Tag::parse("v1").unwrap());
    assert!(repository.delete_manifest(&v1).await.unwrap());
}

/// Checks an index such as BuildKit's cache: an entry with the type of a manifest has to be a manifest.
#[tokio::test]
async fn an_index_may_have_blobs_that_are_not_called_manifests() {
    let repository = Registry::builder(MemoryStorage::new())
        .build()
        .repository("a")
        .unwrap();
    repository.push_blob("{}", None).await.unwrap();
    for list in [MediaType::OCI_INDEX, MediaType::DOCKER_LIST] {
        for (entry, accepted) in [
            ("application/vnd.oci.image.layer.v1.tar+gzip", true),
            ("application/vnd.buildkit.cacheconfig.v0", true),
            (MediaType::OCI_INDEX, false),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", false),
        ] {
            let index = json!({
                "schemaVersion": 2,
                "mediaType": list,
                "manifests": [{"mediaType": entry, "digest": digest().to_string(), "size": 2}],
            });
            let push = ManifestPush::new(Tag::parse("v1").unwrap(), index.to_string());

            let pushed = repository.put_manifest(push).await;

            assert_eq!(pushed.is_ok(), accepted, "{list} of {entry}: {pushed:?}");
        }
    }
}

/// Checks that a refusal has the host's text about the setting that causes it.
#[tokio::test]
async fn a_refusal_names_the_remedy_of_the_host() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let mut limits = Limits::default();
    limits.blob_bytes = Some(1);
    limits.catalog_n = Some(1);
    limits.uploads = 0;
    limits.name_components = 2;
    let built = |storage: &MemoryStorage| {
        [
            (Setting::Deletion, "--delete"),
            (Setting::ReadOnly, "--write"),
            (Setting::BlobBytes, "--size"),
            (Setting::CatalogPage, "--page"),
            (Setting::Uploads, "--uploads"),
            (Setting::NameComponents, "--depth"),
            (Setting::SparseIndexes, "--sparse"),
            (Setting::Access, "--rules"),
        ]
        .into_iter()
        .fold(Registry::builder(storage.clone()), |builder, (setting, text)| {
            builder.remedy(setting, text)
        })
        .limits(limits)
    };
    let open = built(&storage).allow_anonymous_push().without_deletion().build();
    let closed = built(&storage).allow_anonymous_push().read_only().build();
    let ruled = built(&storage).build();
    let post = "/v2/a/blobs/uploads/";
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [{"mediaType": IMAGE, "digest": Digest::of(Algorithm::Sha256, b"no").to_string(), "size": 2}],
    });
    let index = index.to_string();
    for (registry, method, target, body, expected) in [
        (&open, Method::DELETE, "/v2/a/manifests/v1", "", "; --delete"),
        (&open, Method::GET, "/v2/_catalog?n=2", "", "; --page"),
        (&open, Method::POST, post, "", "; --uploads"),
        (&open, Method::POST, "/v2/a/b/c/blobs/uploads/", "", "; --depth"),
        (
            &open,
            Method::POST,
            &format!("{post}?digest={}", digest()),
            "{}",
            "; --size",
        ),
        (&closed, Method::DELETE, "/v2/a/manifests/v1", "", "; --write"),
        (&open, Method::PUT, "/v2/a/manifests/v3", &index, "; --sparse"),
        (&ruled, Method::POST, post, "", "; --rules"),
        // A refusal that no setting causes.
        (&open, Method::GET, "/v2/a/manifests/v2", "", "no such manifest"),
    ] {
        let refused = send(registry, None, method, target, body).await;
        assert!(
            refused.message().ends_with(expected),
            "{target}: {}",
            refused.message()
        );
    }
}

#[tokio::test]
async fn the_host_says_from_where_layers_may_be_fetched() {
    let with_layer = |kind: &str, urls: &[&str]| {
        let absent = Digest::of(Algorithm::Sha256, b"absent");
        let media_type = format!("application/vnd.oci.image.{kind}.v1.tar");
        let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest().to_string(), "size": 2});
        let layer = json!({"mediaType": media_type, "digest": absent.to_string(), "size": 6, "urls": urls});
        let document = json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer]});
        ManifestPush::new(Tag::parse("v1").unwrap(), document.to_string())
    };
    let silent = Registry::builder(MemoryStorage::new()).build();
    let asked = Registry::builder(MemoryStorage::new())
        .layer_urls(|url| url.starts_with("https://a/"))
        .build();
    let [silent, asked] = [silent, asked].map(|registry| registry.repository("a").unwrap());
    for repository in [&silent, &asked] {
        repository.push_blob("{}", None).await.unwrap();
    }
    let (missing, invalid) = (Some("MANIFEST_BLOB_UNKNOWN"), Some("MANIFEST_INVALID"));
    for (kind, urls, of_silent, of_asked) in [
        ("layer", &[][..], missing, missing),
        ("layer", &["https://a/1", "https://a/2"], missing, None),
        ("layer", &["https://a/1", "https://b/2"], missing, invalid),
        ("layer.nondistributable", &[], None, None),
        ("layer.nondistributable", &["https://a/1"], None, None),
        ("layer.nondistributable", &["https://b/1"], None, invalid),
    ] {
        for (repository, expected) in [(&silent, of_silent), (&asked, of_asked)] {
            let pushed = repository.put_manifest(with_layer(kind, urls)).await;
            let code = pushed.err().map(|error| error.wire().1.as_str());
            assert_eq!(code, expected, "{kind}: {urls:?}");
        }
    }
}

/// Checks that only layers may be fetched from other servers.
#[tokio::test]
async fn addresses_of_what_is_no_layer_mean_nothing() {
    let registry = Registry::builder(MemoryStorage::new())
        .layer_urls(|_| true)
        .build();
    let repository = registry.repository("a").unwrap();
    let absent = json!({
        "mediaType": "application/vnd.example.thing", "digest": digest().to_string(), "size": 2, "urls": ["https://a/1"],
    });
    for document in [
        json!({"schemaVersion": 2, "mediaType": IMAGE, "config": absent, "layers": []}),
        json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [absent]}),
    ] {
        let push = ManifestPush::new(Tag::parse("v1").unwrap(), document.to_string());
        let refused = repository.put_manifest(push).await.unwrap_err();
        assert_eq!(refused.wire().1.as_str(), "MANIFEST_BLOB_UNKNOWN");
    }
}

#[tokio::test]
async fn wrong_sizes_are_a_choice() {
    let lying = String::from_utf8(manifest("lying").to_vec())
        .unwrap()
        .replace(r#""size":2"#, r#""size":7"#);
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), lying);
    let strict = Registry::builder(MemoryStorage::new()).build();
    let lenient = Registry::builder(MemoryStorage::new())
        .allow_wrong_sizes()
        .build();
    let [strict, lenient] = [strict, lenient].map(|registry| registry.repository("a").unwrap());
    for repository in [&strict, &lenient] {
        repository.push_blob("{}", None).await.unwrap();
    }

    let refused = strict.put_manifest(push.clone()).await.unwrap_err();
    let accepted = lenient.put_manifest(push).await.unwrap();

    assert_eq!(refused.wire().1.as_str(), "MANIFEST_INVALID");
    assert_eq!(
        refused.to_string(),
        format!("{} has 2 bytes, but its descriptor gives 7", digest())
    );
    let wrong = accepted.wrong_sizes[0];
    assert_eq!((wrong.digest, wrong.stored, wrong.claimed), (digest(), 2, 7));
}

#[tokio::test]
async fn sparse_indexes_are_a_choice() {
    let index = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_INDEX,
        "manifests": [{"mediaType": IMAGE, "digest": digest().to_string(), "size": 2}],
    });
    let push = ManifestPush::new(Tag::parse("v1").unwrap(), index.to_string());

    let strict = Registry::builder(MemoryStorage::new())
        .build()
        .repository("a")
        .unwrap();
    let sparse = Registry::builder(MemoryStorage::new())
        .allow_sparse_indexes()
        .build()
        .repository("a")
        .unwrap();

    assert_eq!(
        strict
            .put_manifest(push.clone())
            .await
            .unwrap_err()
            .wire()
            .1
            .as_str(),
        "MANIFEST_BLOB_UNKNOWN"
    );
    assert!(sparse.put_manifest(push).await.is_ok());
    assert_eq!(
        sparse
            .tags(&PageQuery::default())
            .await
            .unwrap()
            .unwrap()
            .items
            .len(),
        1
    );
}
