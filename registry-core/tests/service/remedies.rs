//! Tests of the remedies of a host: each setting that causes a refusal has a text of its own.

use crate::{IMAGE, Rules, digest, filled, manifest, outages::Broken, send};
use http::{Method, Request};
use registry_core::{
    Action, Algorithm, Digest, Limits, MediaType, Registry, Storage,
    auth::Decision,
    service::{Builder, ManifestPush, Setting},
    storage::{MemoryStorage, StorageError},
};
use serde_json::json;

/// Creates a registry with a remedy for each of its settings.
fn host(storage: impl Storage) -> Builder {
    [
        (Setting::Access, "--rules"),
        (Setting::DescriptorSizes, "--sizes"),
        (Setting::Documents, "--memory"),
        (Setting::LayerUrls, "--urls"),
        (Setting::Space, "--space"),
        (Setting::SparseIndexes, "--sparse"),
    ]
    .into_iter()
    .fold(Registry::builder(storage), |builder, (setting, text)| {
        builder.remedy(setting, text)
    })
    .allow_anonymous_push()
}

async fn put(registry: &Registry, document: &str) -> String {
    let target = "/v2/a/manifests/v1";
    send(registry, None, Method::PUT, target, document)
        .await
        .message()
}

#[tokio::test]
async fn what_is_wrong_with_a_manifest_by_choice_of_the_host_has_a_remedy() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let registry = host(storage).layer_urls(|_| false).build();
    let config = json!({"mediaType": "a/b", "digest": digest().to_string(), "size": 2});
    let absent = json!({
        "mediaType": "a/b", "digest": Digest::of(Algorithm::Sha256, b"no").to_string(), "size": 2,
    });
    let mut large = config.clone();
    large["size"] = json!(3);
    let mut elsewhere = config.clone();
    elsewhere["urls"] = json!(["https://example.com/"]);
    let image = |config, layers| {
        json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers}).to_string()
    };
    let index = json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [absent]});
    for (document, remedy) in [
        (image(large, json!([])), Some("; --sizes")),
        (image(config.clone(), json!([elsewhere])), Some("; --urls")),
        (index.to_string(), Some("; --sparse")),
        // No setting decides about missing content of an image.
        (image(absent, json!([])), None),
    ] {
        let message = put(&registry, &document).await;
        let said = message.find("; --").map(|place| &message[place..]);
        assert_eq!(said, remedy, "{message}");
    }
}

#[tokio::test]
async fn a_full_disk_has_a_remedy() {
    let full = Broken(|| StorageError::io("/data", std::io::ErrorKind::StorageFull.into()));
    let refused = send(&host(full).build(), None, Method::GET, "/v2/_catalog", "").await;
    assert!(refused.message().ends_with("; --space"), "{}", refused.message());
}

#[tokio::test]
async fn who_may_push_but_not_overwrite_is_told_who_decides() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a"]).await;
    let rules = Rules(|_, _, action| match action {
        Action::Overwrite => Decision::Deny,
        _ => Decision::Allow,
    });
    let registry = host(storage).authorizer(rules).build();

    let document = String::from_utf8(manifest("another").to_vec()).unwrap();
    let message = put(&registry, &document).await;

    assert!(message.ends_with("; --rules"), "{message}");
}

#[tokio::test]
async fn no_room_for_a_document_has_a_remedy() {
    let mut limits = Limits::default();
    limits.document_bytes = 1 << 20;
    let registry = host(MemoryStorage::new()).limits(limits).build();
    let padding = "x".repeat(700 << 10);
    let index = json!({
        "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": [], "annotations": {"a": padding},
    });
    let index = index.to_string();
    let reference = Digest::of(Algorithm::Sha256, index.as_bytes());
    let repository = registry.repository("a").unwrap();
    let push = ManifestPush::new(reference, index);
    repository.put_manifest(push).await.unwrap();
    let target = format!("/v2/a/manifests/{reference}");
    let held = registry
        .handle(Request::get(&target).body(String::new()).unwrap())
        .await;

    let refused = send(&registry, None, Method::GET, &target, "").await;

    assert!(refused.message().ends_with("; --memory"), "{}", refused.message());
    drop(held);
}
