//! Tests of the user whom the storage is told with each change, for a history and a trash.

use super::*;
use registry_core::service::{ManifestPush, Repository};

/// Changes content in every way that records a user.
async fn change(repository: &Repository) {
    let from = RepositoryName::parse("team/app").unwrap();
    let mounted = repository.mount(&digest(), Some(&from)).await.unwrap();
    assert_eq!(mounted, Some(from));
    let push = ManifestPush::new(registry_core::Tag::parse("v2").unwrap(), manifest("second"));
    repository.put_manifest(push).await.unwrap();
    assert!(repository.delete_manifest("v1").await.unwrap());
    let manifest = Digest::of(Algorithm::Sha256, manifest("first").as_bytes());
    assert!(repository.delete_manifest(manifest).await.unwrap());
    assert!(repository.delete_blob(&digest()).await.unwrap());
}

#[tokio::test]
async fn the_storage_is_told_who_changes_content() {
    let as_ann = |repository: Repository| repository.as_identity(Identity::new("ann"));
    let changes = [
        "mount",
        "put_manifest",
        "delete_tag",
        "delete_manifest",
        "delete_blob",
    ];
    for (who, user) in [
        (as_ann as fn(Repository) -> Repository, "ann"),
        (Repository::as_anonymous, "nobody"),
        (|repository| repository, "nobody"),
    ] {
        let storage = filled(&["team/app"]).await;
        let registry = ruled(&storage, |_, _, _| Decision::Allow);
        storage.users();

        change(&who(registry.repository("team/app").unwrap())).await;

        assert_eq!(storage.users(), changes.map(|change| format!("{change} {user}")));
    }
}
