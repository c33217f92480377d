//! Tests of composed storages, and of their planes.

use super::*;

#[tokio::test]
async fn several_layers_nest() {
    let (middle, lowest, below) = layers();
    let upper = MemoryStorage::new();
    let all = FallbackStorage::new(upper.clone(), below);
    push(lowest.clone(), "app", "lowest").await;
    push(middle.clone(), "app", "middle").await;
    push_image(lowest, "app", "v1", "lowest").await;
    push_image(middle, "app", "v2", "middle").await;
    let both = index(&["lowest", "middle"].map(image).each_ref().map(String::as_str));

    put(all.clone(), "app", tag("v3"), &both).await;

    let tags = all.tags(&name("app"), Page::first(9)).await.unwrap().unwrap();
    assert_eq!(tags.items, ["v1", "v2", "v3"].map(tag));
    for layer in ["lowest", "middle"] {
        assert!(upper.blob(&name("app"), &digest(layer)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn health_checks_both_storages_and_writes_to_the_upper_one() {
    let (upper, _, both) = layers();
    both.health().unwrap().probe().await.unwrap();

    let both = FallbackStorage::new(upper, Outage::default());

    assert!(both.health().unwrap().probe().await.is_err());
    assert!(both.health().unwrap().accepts_uploads().await.is_ok());
}

#[tokio::test]
async fn a_read_only_upper_storage_makes_both_read_only() {
    let (upper, lower, _) = layers();
    assert!(
        FallbackStorage::new(ReadOnlyStorage::new(upper), lower)
            .write()
            .is_none()
    );
}

/// A tenant above base images that all tenants share.
#[tokio::test]
async fn a_tenant_has_base_images_below_its_own() {
    let (shared, base) = (MemoryStorage::new(), MemoryStorage::new());
    let tenant = |prefix: &str| {
        let own = PrefixStorage::new(shared.clone(), name(prefix));
        FallbackStorage::new(own, ReadOnlyStorage::new(base.clone()))
    };
    let (acme, other) = (tenant("acme"), tenant("other"));
    push_image(base.clone(), "app", "base", "base").await;
    let above = index(&[&image("base")]);

    put(acme.clone(), "app", tag("v1"), &above).await;

    assert!(
        shared
            .blob(&name("acme/app"), &digest("base"))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(resolve(&other, "app", "v1").await, None);
    let names = other.repositories(Page::first(9)).await.unwrap();
    assert_eq!(names.items, [name("app")]);
    let app = repository(acme.clone(), "app");
    assert!(app.delete_manifest("base").await.is_err());
    assert!(app.delete_manifest(digest(&above)).await.unwrap());
}

struct Host;

#[async_trait]
impl Clock for Host {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    async fn sleep(&self, _: Duration) {}
}

#[tokio::test]
async fn a_collection_of_the_upper_storage_keeps_what_was_pushed_there() {
    let (upper, lower, both) = layers();
    let base = push_image(lower, "app", "base", "base").await;
    let signature = referrer(1, &image("base"));
    put(both.clone(), "app", digest(&signature), &signature).await;
    let above = push_image(both.clone(), "app", "v1", "above").await;
    put(both.clone(), "app", tag("v2"), &index(&[&image("base")])).await;
    push(both.clone(), "app", "unused").await;

    let options = CollectOptions::new()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO);
    let report = collect(&upper, &options, &Host, &|_| {}).await.unwrap();

    assert_eq!(report.removed.bytes, "unused".len() as u64);
    for manifest in [base, above, digest(&signature)] {
        assert!(
            both.manifest(&name("app"), &manifest.into())
                .await
                .unwrap()
                .is_some()
        );
    }
    let own = repository(upper, "app");
    assert!(
        own.blob(&digest("base")).await.unwrap().is_some(),
        "an index names its image"
    );
    assert!(
        both.collect().is_none(),
        "it would not see the tags of the lower storage"
    );
}
